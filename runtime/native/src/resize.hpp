// The one resize: from a raw frame to the picture that the graph takes in, the same bytes as in Python.
//
// A separable triangle filter whose width grows with the reduction, in whole numbers:
//
//     weights     rounded to 11 bits, each row summing to exactly 2048
//     rows        v = (sum(weight * pixel) + 64) >> 7            at most 12 bits
//     columns     p = (sum(weight * v) + 2^14) >> 15             8 bits
#pragma once

#include <cstdint>

#include "arena.hpp"
#include "physedge.h"
#include "spec.hpp"

namespace physedge {

// Where the looked-at part of a frame lies, and where it lands on the grid; whole pixels.
struct Geometry {
    int top, bottom, left, right;
    int grid_top, grid_left, grid_height, grid_width;
};

Geometry geometry(const FrameSpec& spec, int height_px, int width_px);

// The filter of one side. Row r of `weights` begins at r * stride and belongs to the source pixels from first[r] on.
struct SideFilter {
    std::int16_t* weights = nullptr;
    std::int32_t* first = nullptr;
    int taps = 0;
    int stride = 0;  // taps rounded up to a multiple of 8, the rest 0
};

// Room for the filter of any side up to `source_px` that lands on up to `target_px`.
std::size_t filter_room(int source_px, int target_px);

// Fill a filter in; `scratch` holds a double for each tap.
void make_filter(int source_px, int target_px, SideFilter& filter, double* scratch);

// Pixel of the source nearest to the centre of pixel `index` of the target.
inline int nearest(int index, int source_px, int target_px) {
    auto centre = (2 * static_cast<std::int64_t>(index) + 1) * source_px / (2 * static_cast<std::int64_t>(target_px));
    return static_cast<int>(centre < source_px ? centre : source_px - 1);
}

// Prepares frames for one specification; allocates nothing after its memory was planned.
class Preparer {
public:
    // `is_wide` asks for the loops of resize_avx2.hpp, which this processor must have.
    Preparer(const FrameSpec& spec, int largest_height_px, int largest_width_px, Arena& arena, bool is_wide);

    // Write uint8 (height, width, channel) of the specification. The frame has passed check_picture.
    void prepare(const physedge_frame& frame, std::uint8_t* grid);

private:
    FrameSpec spec_;
    bool is_wide_;
    int source_height_ = 0, source_width_ = 0;  // of the frame that the filters fit
    Geometry way_{};
    SideFilter down_, across_;
    double* scratch_ = nullptr;
    const std::uint8_t** rows_ = nullptr;
    std::uint32_t* packed_ = nullptr;    // weights of one row of the vertical filter
    std::int16_t* mixed_ = nullptr;      // one row after the vertical filter, channels interleaved
    std::int16_t* plane_ = nullptr;      // one channel of it, with room for the taps beyond its end
    std::uint8_t* pixels_ = nullptr;     // one row of the picture, channels interleaved
    std::uint8_t* converted_ = nullptr;  // the last rows of an NV12 frame in RGB, a ring
    int ring_rows_ = 0;
    int ring_row_bytes_ = 0;
    int next_row_ = 0;  // of the source, to be converted

    void fit_to(int height_px, int width_px);
    const std::uint8_t* source_row(const physedge_frame& frame, int row, int channels);
    void mix_rows(int output_row, std::size_t values);
    template <int channels>
    void filter_across();
    void store(std::uint8_t* target, int channels, bool is_bgr, bool is_ordered) const;
};

}  // namespace physedge
