#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pixels.hpp"
#include "resize_avx2.hpp"

namespace physedge {

namespace {

constexpr int weight_one = 2048, row_shift = 7, column_shift = 15, lanes = 8, tile = 64;

// Python's round: to even at the half.
int rounded(double value) { return static_cast<int>(std::nearbyint(value)); }

// The sum in the order in which NumPy takes it, since the last bit decides at a tie.
double pairwise_sum(const double* values, int count) {
    if (count < 8) {
        double sum = 0;
        for (int index = 0; index < count; ++index) sum += values[index];
        return sum;
    }
    if (count <= 128) {
        double sums[8];
        for (int lane = 0; lane < 8; ++lane) sums[lane] = values[lane];
        int index = 8;
        for (; index < count - count % 8; index += 8)
            for (int lane = 0; lane < 8; ++lane) sums[lane] += values[index + lane];
        double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        for (; index < count; ++index) sum += values[index];
        return sum;
    }
    int half = count / 2;
    half -= half % 8;
    return pairwise_sum(values, half) + pairwise_sum(values + half, count - half);
}

int taps_of(int source_px, int target_px) {
    double support = std::max(1.0, static_cast<double>(source_px) / target_px);
    return std::min(static_cast<int>(std::ceil(2 * support)) + 1, source_px);
}

int padded(int taps) { return (taps + lanes - 1) / lanes * lanes; }

}  // namespace

Geometry geometry(const FrameSpec& spec, int height_px, int width_px) {
    Geometry way{0, height_px, 0, width_px, 0, 0, spec.height, spec.width};
    if (spec.crop) {
        const Crop& crop = *spec.crop;
        way.top = std::min(rounded(crop.top * height_px), height_px - 1);
        way.left = std::min(rounded(crop.left * width_px), width_px - 1);
        way.bottom = std::max(way.top + 1, rounded((crop.top + crop.height) * height_px));
        way.right = std::max(way.left + 1, rounded((crop.left + crop.width) * width_px));
    }
    if (spec.letterbox) {
        int height = way.bottom - way.top, width = way.right - way.left;
        double scale = std::min(static_cast<double>(spec.height) / height, static_cast<double>(spec.width) / width);
        way.grid_height = std::min(spec.height, std::max(1, rounded(height * scale)));
        way.grid_width = std::min(spec.width, std::max(1, rounded(width * scale)));
    }
    way.grid_top = (spec.height - way.grid_height) / 2;
    way.grid_left = (spec.width - way.grid_width) / 2;
    return way;
}

std::size_t filter_room(int source_px, int target_px) {
    // target * padded(taps), where taps is at most 2 * source / target + 2, or 3 where the picture grows.
    return static_cast<std::size_t>(2 * std::max(source_px, target_px) + (lanes + 2) * target_px);
}

void make_filter(int source_px, int target_px, SideFilter& filter, double* scratch) {
    double scale = static_cast<double>(source_px) / target_px;
    double support = std::max(1.0, scale);
    filter.taps = taps_of(source_px, target_px);
    filter.stride = padded(filter.taps);
    for (int row = 0; row < target_px; ++row) {
        double centre = (row + 0.5) * scale;
        int first = std::max(static_cast<int>(std::floor(centre - support)), 0);
        for (int tap = 0; tap < filter.taps; ++tap) {
            double distance = std::fabs(first + tap + 0.5 - centre) / support;
            scratch[tap] = first + tap < source_px ? std::max(0.0, 1.0 - distance) : 0.0;
        }
        double sum = pairwise_sum(scratch, filter.taps);
        std::int16_t* weights = filter.weights + static_cast<std::ptrdiff_t>(row) * filter.stride;
        int total = 0, heaviest = 0;
        for (int tap = 0; tap < filter.taps; ++tap) {
            weights[tap] = static_cast<std::int16_t>(std::nearbyint(weight_one * scratch[tap] / sum));
            total += weights[tap];
            if (weights[tap] > weights[heaviest]) heaviest = tap;
        }
        weights[heaviest] = static_cast<std::int16_t>(weights[heaviest] + weight_one - total);
        std::fill(weights + filter.taps, weights + filter.stride, std::int16_t{0});
        filter.first[row] = first;
    }
}

Preparer::Preparer(const FrameSpec& spec, int largest_height_px, int largest_width_px, Arena& arena, bool is_wide)
    : spec_(spec), is_wide_(is_wide) {
    auto count = [](int value) { return static_cast<std::size_t>(value); };
    arena.plan(&down_.weights, filter_room(largest_height_px, spec.height));
    arena.plan(&down_.first, count(spec.height));
    arena.plan(&across_.weights, filter_room(largest_width_px, spec.width));
    arena.plan(&across_.first, count(spec.width));
    arena.plan(&scratch_, count(std::max(largest_height_px, largest_width_px)));
    arena.plan(&rows_, count(largest_height_px));
    arena.plan(&packed_, count(largest_height_px) + 1);
    // Taps beyond the end of a row have weight 0 but are read: of the row itself, or of a plane of it.
    arena.plan(&mixed_, count(largest_width_px) * (is_wide ? 6 : 3) + tile);
    arena.plan(&plane_, count(largest_width_px) * 2 + 4 * lanes);
    arena.plan(&pixels_, count(spec.width) * 3 + 1);
    // Letterbox rounds a side by at most a third of it, so that the filter is at most half as long again.
    double scale = std::max(static_cast<double>(largest_height_px) / spec.height,
                            spec.letterbox ? static_cast<double>(largest_width_px) / spec.width : 0.0);
    double support = std::max(1.0, spec.letterbox ? 1.5 * scale : scale);
    ring_rows_ = std::min(static_cast<int>(std::ceil(2 * support)) + 1, largest_height_px);
    ring_row_bytes_ = largest_width_px * 3;
    arena.plan(&converted_, count(ring_rows_) * count(ring_row_bytes_));
}

void Preparer::fit_to(int height_px, int width_px) {
    if (height_px == source_height_ && width_px == source_width_) return;
    way_ = geometry(spec_, height_px, width_px);
    make_filter(way_.bottom - way_.top, way_.grid_height, down_, scratch_);
    make_filter(way_.right - way_.left, way_.grid_width, across_, scratch_);
    source_height_ = height_px;
    source_width_ = width_px;
}

const std::uint8_t* Preparer::source_row(const physedge_frame& frame, int row, int channels) {
    if (frame.format != PHYSEDGE_NV12)
        return pixel_row(frame, way_.top + row) + static_cast<std::ptrdiff_t>(way_.left) * channels;
    for (; next_row_ <= row; ++next_row_)
        rgb_from_nv12(frame, way_.top + next_row_, way_.left, way_.right,
                      converted_ + static_cast<std::ptrdiff_t>(next_row_ % ring_rows_) * ring_row_bytes_);
    return converted_ + static_cast<std::ptrdiff_t>(row % ring_rows_) * ring_row_bytes_;
}

void Preparer::mix_rows(int output_row, std::size_t values) {
    const std::int16_t* weights = down_.weights + static_cast<std::ptrdiff_t>(output_row) * down_.stride;
    if (is_wide_ && values >= tile) return mix_rows_avx2(rows_, weights, down_.taps, values, packed_, mixed_);
    for (std::size_t start = 0; start < values; start += tile) {
        std::int32_t sums[tile];
        std::fill(sums, sums + tile, 1 << (row_shift - 1));
        std::size_t width = std::min<std::size_t>(tile, values - start);
        for (int tap = 0; tap < down_.taps; ++tap) {
            const std::int16_t weight = weights[tap];
            if (weight == 0) continue;
            const std::uint8_t* row = rows_[tap] + start;
            if (width == tile) {
                for (int index = 0; index < tile; ++index)
                    sums[index] += static_cast<std::int32_t>(weight) * static_cast<std::int16_t>(row[index]);
            } else {
                for (std::size_t index = 0; index < width; ++index)
                    sums[index] += static_cast<std::int32_t>(weight) * static_cast<std::int16_t>(row[index]);
            }
        }
        for (int index = 0; index < tile; ++index)
            mixed_[start + static_cast<std::size_t>(index)] = static_cast<std::int16_t>(sums[index] >> row_shift);
    }
}

template <int channels>
void Preparer::filter_across() {
    int width = way_.right - way_.left;
    for (int channel = 0; channel < channels; ++channel) {
        for (int column = 0; column < width; ++column) plane_[column] = mixed_[column * channels + channel];
        for (int column = 0; column < way_.grid_width; ++column) {
            const std::int16_t* weights = across_.weights + static_cast<std::ptrdiff_t>(column) * across_.stride;
            const std::int16_t* values = plane_ + across_.first[column];
            std::int32_t sum = 1 << (column_shift - 1);
            for (int tap = 0; tap < across_.stride; tap += lanes)
                for (int lane = 0; lane < lanes; ++lane)
                    sum += static_cast<std::int32_t>(weights[tap + lane]) * values[tap + lane];
            pixels_[column * channels + channel] = static_cast<std::uint8_t>(sum >> column_shift);
        }
    }
}

void Preparer::store(std::uint8_t* target, int channels, bool is_bgr, bool is_ordered) const {
    if (is_ordered) {
        std::memcpy(target, pixels_, static_cast<std::size_t>(way_.grid_width * channels));
        return;
    }
    int width = way_.grid_width;
    if (spec_.colour == Colour::grey) {
        int red = is_bgr ? 2 : 0, blue = is_bgr ? 0 : 2;
        for (int column = 0; column < width; ++column) {
            const std::uint8_t* pixel = pixels_ + 3 * column;
            target[column] = static_cast<std::uint8_t>((299 * pixel[red] + 587 * pixel[1] + 114 * pixel[blue] + 500) / 1000);
        }
        return;
    }
    bool is_swapped = is_bgr != (spec_.colour == Colour::bgr);
    for (int column = 0; column < width; ++column)
        for (int channel = 0; channel < 3; ++channel)
            target[3 * column + channel] =
                channels == 1 ? pixels_[column] : pixels_[3 * column + (is_swapped ? 2 - channel : channel)];
}

void Preparer::prepare(const physedge_frame& frame, std::uint8_t* grid) {
    fit_to(static_cast<int>(frame.height_px), static_cast<int>(frame.width_px));
    next_row_ = 0;
    int channels = frame.format == PHYSEDGE_GREY ? 1 : 3;
    if (spec_.letterbox) std::memset(grid, 0, spec_.bytes());
    int height = way_.bottom - way_.top;
    std::size_t values = static_cast<std::size_t>(way_.right - way_.left) * static_cast<std::size_t>(channels);
    bool is_bgr = frame.format == PHYSEDGE_BGR, is_colour = spec_.colour != Colour::grey;
    bool is_swapped = is_colour && is_bgr != (spec_.colour == Colour::bgr);
    bool is_ordered = is_colour ? channels == 3 && (is_wide_ || !is_swapped) : channels == 1;
    for (int row = 0; row < way_.grid_height; ++row) {
        int first = down_.first[row];
        for (int tap = 0; tap < down_.taps; ++tap)
            rows_[tap] = source_row(frame, std::min(first + tap, height - 1), channels);
        mix_rows(row, values);
        if (channels == 1)
            filter_across<1>();
        else if (is_wide_)
            filter_across_avx2(mixed_, across_, way_.grid_width, is_swapped, pixels_);
        else
            filter_across<3>();
        int offset = ((way_.grid_top + row) * spec_.width + way_.grid_left) * spec_.channels();
        store(grid + offset, channels, is_bgr, is_ordered);
    }
}

}  // namespace physedge
