#include "resize_avx2.hpp"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

namespace physedge {

namespace {

constexpr int column_shift = 15;
constexpr std::size_t block = 64;

__attribute__((target("avx2"))) __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

// Two weights as bytes, four times over.
std::uint32_t four_bytes(int first, int second) {
    auto pair = static_cast<std::uint32_t>(first | second << 8);
    return pair | pair << 16;
}

// The sum of 32 values over all taps, in two halves of 16 bits: S = 32 * high + low. A weight is 32 * h + l; the h sum
// to 64 at most, so that `high` stays below 2^15, and `low` is carried over every eight taps, before it passes 2^16.
struct Sums {
    __m256i high, low;

    __attribute__((target("avx2"))) void add(__m256i pairs, __m256i high_weights, __m256i low_weights) {
        high = _mm256_add_epi16(high, _mm256_maddubs_epi16(pairs, high_weights));
        low = _mm256_add_epi16(low, _mm256_maddubs_epi16(pairs, low_weights));
    }
    __attribute__((target("avx2"))) void carry() {
        high = _mm256_add_epi16(high, _mm256_srli_epi16(low, 5));
        low = _mm256_and_si256(low, _mm256_set1_epi16(31));
    }
    // (S + 64) >> 7
    __attribute__((target("avx2"))) __m256i rounded() {
        carry();
        return _mm256_srli_epi16(_mm256_add_epi16(high, _mm256_set1_epi16(2)), 2);
    }
};

// 32 values that were unpacked by halves, in their order.
__attribute__((target("avx2"))) void store(std::int16_t* to, __m256i values, __m256i between) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(values, between, 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 16), _mm256_permute2x128_si256(values, between, 0x31));
}

// One half of a register from each of two places.
__attribute__((target("avx2"))) __m256i load(const std::int16_t* lower, const std::int16_t* upper) {
    __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(lower));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(half), _mm_loadu_si128(reinterpret_cast<const __m128i*>(upper)), 1);
}

__attribute__((target("avx2"))) void store_pixel(std::uint8_t* to, __m128i words) {
    std::int32_t pixel = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(to, &pixel, sizeof pixel);
}

}  // namespace

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }

__attribute__((target("avx2"))) void mix_rows_avx2(const std::uint8_t* const* rows, const std::int16_t* weights, int taps,
                                                   std::size_t values, std::uint32_t* packed, std::int16_t* mixed) {
    for (int tap = 0; tap < taps; tap += 2) {
        int first = weights[tap], second = tap + 1 < taps ? weights[tap + 1] : 0;
        packed[tap] = four_bytes(first >> 5, second >> 5);
        packed[tap + 1] = four_bytes(first & 31, second & 31);
    }
    for (std::size_t start = 0; start < values; start += block) {
        std::size_t at = std::min(start, values - block);  // the last block goes over some values again
        // Unpacking goes by halves: values 0 to 7 and 16 to 23 are in the first, 8 to 15 and 24 to 31 in the second.
        Sums left{}, left_between{}, right{}, right_between{};
        for (int tap = 0; tap < taps; tap += 2) {
            const std::uint8_t *row = rows[tap] + at, *next = rows[std::min(tap + 1, taps - 1)] + at;
            __m256i high = _mm256_set1_epi32(static_cast<int>(packed[tap])), low = _mm256_set1_epi32(static_cast<int>(packed[tap + 1]));
            __m256i first = load(row), second = load(next);
            left.add(_mm256_unpacklo_epi8(first, second), high, low);
            left_between.add(_mm256_unpackhi_epi8(first, second), high, low);
            first = load(row + block / 2), second = load(next + block / 2);
            right.add(_mm256_unpacklo_epi8(first, second), high, low);
            right_between.add(_mm256_unpackhi_epi8(first, second), high, low);
            if (tap % 8 == 6) left.carry(), left_between.carry(), right.carry(), right_between.carry();
        }
        store(mixed + at, left.rounded(), left_between.rounded());
        store(mixed + at + block / 2, right.rounded(), right_between.rounded());
    }
}

__attribute__((target("avx2"))) void filter_across_avx2(const std::int16_t* mixed, const SideFilter& filter, int columns, bool is_swapped,
                                                        std::uint8_t* pixels) {
    // Two neighbours r g b r g b, as bytes of 16-bit values, to r r g g b b; a half of the register for each column.
    const __m128i straight = _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1);
    const __m128i swapped = _mm_setr_epi8(4, 5, 10, 11, 2, 3, 8, 9, 0, 1, 6, 7, -1, -1, -1, -1);
    const __m256i order = _mm256_broadcastsi128_si256(is_swapped ? swapped : straight);
    for (int column = 0; column < columns; column += 2) {
        const std::ptrdiff_t one = column, other = std::min(column + 1, columns - 1);
        const std::int16_t *weights = filter.weights + one * filter.stride, *other_weights = filter.weights + other * filter.stride;
        const std::int16_t *values = mixed + 3 * std::ptrdiff_t{filter.first[one]}, *other_values = mixed + 3 * std::ptrdiff_t{filter.first[other]};
        __m256i sums = _mm256_set1_epi32(1 << (column_shift - 1));
        for (int tap = 0; tap < filter.stride; tap += 8, values += 24, other_values += 24) {
            const __m256i eight = load(weights + tap, other_weights + tap);
            auto add = [&](int neighbours, __m256i pair) __attribute__((target("avx2"), always_inline)) {
                __m256i pixels_there = _mm256_shuffle_epi8(load(values + 6 * neighbours, other_values + 6 * neighbours), order);
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pixels_there, pair));
            };
            add(0, _mm256_shuffle_epi32(eight, 0x00));
            add(1, _mm256_shuffle_epi32(eight, 0x55));
            add(2, _mm256_shuffle_epi32(eight, 0xAA));
            add(3, _mm256_shuffle_epi32(eight, 0xFF));
        }
        __m256i words = _mm256_packs_epi32(_mm256_srai_epi32(sums, column_shift), sums);
        store_pixel(pixels + 3 * one, _mm256_castsi256_si128(words));
        store_pixel(pixels + 3 * other, _mm256_extracti128_si256(words, 1));
    }
}

}  // namespace physedge

#else

namespace physedge {

bool has_avx2() { return false; }
void mix_rows_avx2(const std::uint8_t* const*, const std::int16_t*, int, std::size_t, std::uint32_t*, std::int16_t*) {}
void filter_across_avx2(const std::int16_t*, const SideFilter&, int, bool, std::uint8_t*) {}

}  // namespace physedge

#endif
