// The mask at the frame's size: the probability is brought there, then the threshold; the same bytes as in Python.
//
// Bilinear between the centres of the grid's pixels, held at the border, in whole numbers:
//
//     values      one plane: q = floor(2048 (p - threshold)); several: q = floor(2048 p + 1/2)
//     weights     of the second of two neighbours: floor(2048 f + 1/2), f its share; the first has the rest of 2048
//     rows        v = floor(sum(weight * q) / 1024)
//     columns     s = sum(weight * v)
//     the class   one plane: 1 where s >= 0; several: the plane with the largest s, the first of equal ones
//
// A frame of the grid's own size has the grid's own mask.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "resize.hpp"

namespace physedge {

class FrameMask {
public:
    static constexpr std::size_t most_planes = 256;  // a class is a byte

    // `probability` is (plane, height, width) on the grid of `grid_width` columns; planes are at most most_planes.
    FrameMask(const float* probability, std::size_t planes, std::size_t points, float threshold, int grid_width, const Geometry& way)
        : probability_(probability), planes_(planes), points_(points), threshold_(threshold), grid_width_(grid_width), way_(way) {}

    // Call span(first column, column behind the last, class) for every run of one row of what is looked at.
    template <typename Span>
    void row(int row, Span&& span) const {
        if (is_of_the_grids_size()) return copy_row(row, span);
        const int frame_px = way_.right - way_.left, last = way_.grid_width - 1;
        const Place down = place(row, way_.grid_height, way_.bottom - way_.top);
        std::int32_t values[2][most_planes];
        int known = -2;  // the grid's column that the second half holds
        for (int column = 0; column < frame_px;) {
            const Place across = place(column, way_.grid_width, frame_px);
            const int second = std::min(across.first + 1, last);
            if (known == across.first)
                std::copy(values[1], values[1] + planes_, values[0]);
            else
                mix(down, across.first, values[0]);
            mix(down, second, values[1]);
            known = second;
            const int stop = across.first >= last ? frame_px : end_of_cell(across.first, frame_px);
            const int left = decided(values[0]), right = decided(values[1]);
            if (left == right) {  // between two grid points of one class all is of this class
                span(column, stop, left);
                column = stop;
            }
            for (; column < stop; ++column) span(column, column + 1, between(values, place(column, way_.grid_width, frame_px).weight));
        }
    }

private:
    struct Place {
        int first;     // of two neighbours on the grid
        int weight;    // of the second, of 2048
    };

    const float* probability_;
    std::size_t planes_, points_;
    float threshold_;
    int grid_width_;
    Geometry way_;

    bool is_of_the_grids_size() const {
        return way_.right - way_.left == way_.grid_width && way_.bottom - way_.top == way_.grid_height;
    }

    static Place place(int index, int grid_px, int frame_px);
    // The first pixel whose first neighbour is another one.
    int end_of_cell(int first, int frame_px) const;
    // One value a plane, between two rows of the grid.
    void mix(const Place& down, int column, std::int32_t* values) const;
    std::int32_t whole(float value) const;
    int decided(const std::int32_t* values) const;
    int between(const std::int32_t (&values)[2][most_planes], int weight) const;
    int class_on_grid(std::size_t point) const;

    template <typename Span>
    void copy_row(int row, Span& span) const {
        for (int column = 0; column < way_.grid_width; ++column) {
            const auto point = static_cast<std::size_t>(way_.grid_top + row) * static_cast<std::size_t>(grid_width_);
            span(column, column + 1, class_on_grid(point + static_cast<std::size_t>(way_.grid_left + column)));
        }
    }
};

}  // namespace physedge
