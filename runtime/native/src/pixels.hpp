// A raw frame as the caller hands it in: checks, rows, NV12.
#pragma once

#include <cstdint>

#include "physedge.h"

namespace physedge {

// Whether it is a picture; what it is not stays out of `error` only where that is NULL. PE-FRAME-001.
physedge_status check_picture(const physedge_frame& frame, physedge_error* error) noexcept;

inline int channels_of(physedge_format format) { return format == PHYSEDGE_RGB || format == PHYSEDGE_BGR ? 3 : 1; }

inline std::size_t stride_of(const physedge_frame& frame) {
    return frame.stride_bytes != 0 ? frame.stride_bytes
                                   : frame.width_px * static_cast<std::size_t>(channels_of(frame.format));
}

// A row of the picture, of the luma for NV12.
inline const std::uint8_t* pixel_row(const physedge_frame& frame, int row) {
    return frame.pixels + static_cast<std::size_t>(row) * stride_of(frame);
}

// A row of interleaved Cb and Cr; it belongs to the luma rows 2 * row and 2 * row + 1.
inline const std::uint8_t* chroma_row(const physedge_frame& frame, int row) {
    const std::uint8_t* plane = frame.chroma != nullptr ? frame.chroma : frame.pixels + frame.height_px * stride_of(frame);
    return plane + static_cast<std::size_t>(row) * (frame.chroma_stride_bytes != 0 ? frame.chroma_stride_bytes : stride_of(frame));
}

// Columns left to right of one row in RGB, by ITU-R BT.601 with luma 16 to 235, in whole numbers:
//     R = (298 (Y - 16) + 409 (Cr - 128) + 128) >> 8, and so on; at most 1 off the exact value.
void rgb_from_nv12(const physedge_frame& frame, int row, int left, int right, std::uint8_t* rgb) noexcept;

}  // namespace physedge
