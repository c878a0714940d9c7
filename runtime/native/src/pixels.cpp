#include "pixels.hpp"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "refusal.hpp"

namespace physedge {

namespace {

constexpr int sample_step = 8, dark_up_to = 16, bright_from = 250;
// The same two bounds for luma between 16 and 235.
constexpr int dark_luma_up_to = 29, bright_luma_from = 231;

std::uint8_t clipped(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

const char* format_name(physedge_format format) {
    switch (format) {
        case PHYSEDGE_RGB: return "rgb";
        case PHYSEDGE_BGR: return "bgr";
        case PHYSEDGE_GREY: return "grey";
        case PHYSEDGE_NV12: return "nv12";
        case PHYSEDGE_VOLTAGES: break;
    }
    return "rgb";  // Python's frame of voltages says so too
}

void look_at_picture(const physedge_frame& frame, physedge_look& look) {
    int channels = channels_of(frame.format);
    bool is_luma = frame.format == PHYSEDGE_NV12;
    int dark_limit = is_luma ? dark_luma_up_to : dark_up_to, bright_limit = is_luma ? bright_luma_from : bright_from;
    std::size_t row_bytes = frame.width_px * static_cast<std::size_t>(channels);
    uLong checksum = 0;
    std::uint64_t dark = 0, bright = 0, sampled = 0;
    for (std::uint32_t row = 0; row < frame.height_px; ++row) {
        const std::uint8_t* pixels = pixel_row(frame, static_cast<int>(row));
        checksum = crc32_z(checksum, pixels, row_bytes);
        if (row % sample_step != 0) continue;
        for (std::uint32_t column = 0; column < frame.width_px; column += sample_step)
            for (int channel = 0; channel < channels; ++channel, ++sampled) {
                int value = pixels[column * static_cast<std::uint32_t>(channels) + static_cast<std::uint32_t>(channel)];
                dark += value <= dark_limit;
                bright += value >= bright_limit;
            }
    }
    if (is_luma)
        for (std::uint32_t row = 0; row < frame.height_px / 2; ++row)
            checksum = crc32_z(checksum, chroma_row(frame, static_cast<int>(row)), row_bytes);
    look.checksum = static_cast<std::uint32_t>(checksum);
    look.dark_share = static_cast<double>(dark) / static_cast<double>(std::max<std::uint64_t>(1, sampled));
    look.bright_share = static_cast<double>(bright) / static_cast<double>(std::max<std::uint64_t>(1, sampled));
    std::snprintf(look.format, sizeof look.format, channels == 3 ? "%ux%ux3 %s uint8" : "%ux%u %s uint8", frame.height_px,
                  frame.width_px, format_name(frame.format));
}

void look_at_voltages(const physedge_frame& frame, physedge_look& look) {
    std::uint64_t zero = 0, not_finite = 0;
    for (std::size_t index = 0; index < frame.voltage_count; ++index) {
        zero += frame.voltages[index] == 0.0F;
        not_finite += !std::isfinite(frame.voltages[index]);
    }
    double count = static_cast<double>(std::max<std::size_t>(1, frame.voltage_count));
    look.checksum = static_cast<std::uint32_t>(
        crc32_z(0, reinterpret_cast<const Bytef*>(frame.voltages), frame.voltage_count * sizeof(float)));
    look.dark_share = static_cast<double>(zero) / count;
    look.bright_share = static_cast<double>(not_finite) / count;
    std::size_t rows = frame.height_px == 2 ? 2 : 1;
    std::snprintf(look.format, sizeof look.format, rows == 2 ? "2x%zu %s float32" : "%zu %s float32", frame.voltage_count / rows,
                  format_name(frame.format));
}

}  // namespace

physedge_status check_picture(const physedge_frame& frame, physedge_error* error) noexcept {
    constexpr std::uint32_t most_px = 1 << 15;
    bool is_picture = frame.format >= PHYSEDGE_RGB && frame.format <= PHYSEDGE_NV12 && frame.pixels != nullptr &&
                      frame.width_px >= 1 && frame.height_px >= 1 && frame.width_px <= most_px && frame.height_px <= most_px;
    if (is_picture && frame.format == PHYSEDGE_NV12) is_picture = frame.width_px % 2 == 0 && frame.height_px % 2 == 0;
    if (is_picture && stride_of(frame) >= frame.width_px * static_cast<std::size_t>(channels_of(frame.format)))
        return PHYSEDGE_OK;
    char found[96];
    std::snprintf(found, sizeof found, "a frame of %ux%u pixels, format %d, stride %zu", frame.width_px, frame.height_px,
                  static_cast<int>(frame.format), frame.stride_bytes);
    return report(error, PHYSEDGE_USAGE, "PE-FRAME-001", found, "uint8 rows of RGB, BGR, grey or NV12, none empty",
                  "convert the picture before it is handed in");
}

void rgb_from_nv12(const physedge_frame& frame, int row, int left, int right, std::uint8_t* rgb) noexcept {
    const std::uint8_t* luma = pixel_row(frame, row);
    const std::uint8_t* chroma = chroma_row(frame, row / 2);
    for (int column = left; column < right; ++column, rgb += 3) {
        int y = 298 * (luma[column] - 16) + 128;
        int blue = chroma[column & ~1] - 128, red = chroma[column | 1] - 128;
        rgb[0] = clipped((y + 409 * red) >> 8);
        rgb[1] = clipped((y - 100 * blue - 208 * red) >> 8);
        rgb[2] = clipped((y + 516 * blue) >> 8);
    }
}

}  // namespace physedge

extern "C" physedge_status physedge_look_at(const physedge_frame* frame, physedge_look* look, physedge_error* error) {
    using namespace physedge;
    if (frame == nullptr || look == nullptr)
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "NULL for frame or look", "both", "correct the call");
    if (frame->format == PHYSEDGE_VOLTAGES) {
        constexpr std::size_t most_voltages = std::size_t{1} << 24;
        if (frame->voltages == nullptr || frame->voltage_count == 0 || frame->voltage_count > most_voltages)
            return report(error, PHYSEDGE_USAGE, "PE-FRAME-002", "no voltages in a frame, or more than 2^24", "some", "correct the call");
        look_at_voltages(*frame, *look);
        return PHYSEDGE_OK;
    }
    physedge_status status = check_picture(*frame, error);
    if (status == PHYSEDGE_OK) look_at_picture(*frame, *look);
    return status;
}
