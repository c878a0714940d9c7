// The two loops of the resize for processors with AVX2: the same whole numbers, so the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "resize.hpp"

namespace physedge {

// Whether this processor runs them; always false where the compiler builds for another family.
bool has_avx2();

// mixed[i] = (sum over taps of weights[tap] * rows[tap][i] + 64) >> 7, for at least 64 values. Weights are 0 or more
// and sum to 2048; `packed` holds two words for each pair of taps.
void mix_rows_avx2(const std::uint8_t* const* rows, const std::int16_t* weights, int taps, std::size_t values,
                   std::uint32_t* packed, std::int16_t* mixed);

// pixels[3 * c + k] = (sum over taps of the filter's weights * mixed[3 * (first[c] + tap) + k] + 2^14) >> 15, for three
// interleaved channels, in reverse order where wanted. Reads as far as the filter's stride and two values more, and writes
// one byte beyond the last pixel.
void filter_across_avx2(const std::int16_t* mixed, const SideFilter& filter, int columns, bool is_swapped, std::uint8_t* pixels);

}  // namespace physedge
