#include "frame_mask.hpp"

namespace physedge {

namespace {

constexpr std::int32_t one = 2048, row_divisor = 1024;

std::int32_t floor_of(float value) {
    const auto truncated = static_cast<std::int32_t>(value);
    return truncated - (static_cast<float>(truncated) > value ? 1 : 0);
}

// Rounded down also below 0: values lie above -one * one.
std::int32_t floor_divided(std::int32_t sum) { return (sum + one * one) / row_divisor - one * one / row_divisor; }

}  // namespace

FrameMask::Place FrameMask::place(int index, int grid_px, int frame_px) {
    const std::int64_t cell = 2 * static_cast<std::int64_t>(frame_px);
    const std::int64_t where = std::max<std::int64_t>((2 * static_cast<std::int64_t>(index) + 1) * grid_px - frame_px, 0);
    const std::int64_t first = where / cell;
    if (first >= grid_px - 1) return {grid_px - 1, 0};
    return {static_cast<int>(first), static_cast<int>((where % cell * one + frame_px) / cell)};
}

int FrameMask::end_of_cell(int first, int frame_px) const {
    const std::int64_t step = 2 * static_cast<std::int64_t>(way_.grid_width);
    const std::int64_t limit = 2 * (static_cast<std::int64_t>(first) + 1) * frame_px + frame_px - way_.grid_width;
    return static_cast<int>(std::min<std::int64_t>((limit + step - 1) / step, frame_px));
}

void FrameMask::mix(const Place& down, int column, std::int32_t* values) const {
    const auto width = static_cast<std::size_t>(grid_width_);
    const int below = std::min(down.first + 1, way_.grid_height - 1);
    const auto offset = static_cast<std::size_t>(way_.grid_left + column);
    const float* upper = probability_ + static_cast<std::size_t>(way_.grid_top + down.first) * width + offset;
    const float* lower = probability_ + static_cast<std::size_t>(way_.grid_top + below) * width + offset;
    for (std::size_t plane = 0; plane < planes_; ++plane) {
        const std::size_t at = plane * points_;
        values[plane] = floor_divided(whole(upper[at]) * (one - down.weight) + whole(lower[at]) * down.weight);
    }
}

std::int32_t FrameMask::whole(float value) const {
    if (planes_ == 1) {
        float above = value - threshold_;
        above = above > -1.0f ? above : -1.0f;  // also what is no number
        return floor_of((above < 1.0f ? above : 1.0f) * static_cast<float>(one));
    }
    const float within = value > 0.0f ? value : 0.0f;
    return floor_of((within < 1.0f ? within : 1.0f) * static_cast<float>(one) + 0.5f);
}

int FrameMask::decided(const std::int32_t* values) const {
    if (planes_ == 1) return values[0] >= 0;
    return static_cast<int>(std::max_element(values, values + planes_) - values);
}

int FrameMask::between(const std::int32_t (&values)[2][most_planes], int weight) const {
    std::int32_t largest = 0;
    int best = 0;
    for (std::size_t plane = 0; plane < planes_; ++plane) {
        const std::int32_t sum = values[0][plane] * (one - weight) + values[1][plane] * weight;
        if (planes_ == 1) return sum >= 0;
        if (plane == 0 || sum > largest) {
            largest = sum;
            best = static_cast<int>(plane);
        }
    }
    return best;
}

int FrameMask::class_on_grid(std::size_t point) const {
    if (planes_ == 1) return probability_[point] >= threshold_;
    int best = 0;
    float largest = 0;
    for (std::size_t plane = 0; plane < planes_; ++plane) {
        const float value = probability_[plane * points_ + point];
        const float here = value == value ? value : 0.0f;  // what is no number is 0
        if (plane != 0 && !(here > largest)) continue;
        largest = here;
        best = static_cast<int>(plane);
    }
    return best;
}

}  // namespace physedge
