#include "graph_size_rules.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>
#include <numeric>
#include <set>

namespace physedge {

namespace {

using Shapes = std::vector<Sides>;
using Rule = Shapes (*)(const SizedNode&);

constexpr std::int64_t most_step = 1 << 16, largest_number = std::int64_t{1} << 31;

std::int64_t divided_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

bool are_all(const Sides& values, std::int64_t least, std::int64_t most) {
    return std::all_of(values.begin(), values.end(), [&](std::int64_t value) { return value >= least && value <= most; });
}

Sides joined_lists(std::initializer_list<Sides> parts) {
    Sides whole;
    for (const Sides& part : parts) whole.insert(whole.end(), part.begin(), part.end());
    return whole;
}

Sides from(const Sides& sides, std::size_t first, std::size_t last) {
    return Sides(sides.begin() + static_cast<std::ptrdiff_t>(first), sides.begin() + static_cast<std::ptrdiff_t>(last));
}

Shapes same(const SizedNode& node) { return {node.shape(0)}; }

Shapes quantised(const SizedNode& node) { return {node.shape(0), {}, {}}; }

Sides joined(const SizedNode& node, Sides one, Sides other) {
    std::size_t rank = std::max(one.size(), other.size());
    one.insert(one.begin(), rank - one.size(), 1);
    other.insert(other.begin(), rank - other.size(), 1);
    for (std::size_t axis = 0; axis < rank; ++axis) {
        node.need(one[axis] == other[axis] || one[axis] == 1 || other[axis] == 1, "shapes that do not fit");
        if (one[axis] == 1) one[axis] = other[axis];
    }
    return one;
}

Shapes broadcast(const SizedNode& node) {
    Sides shape;
    for (std::size_t place = 0; place < node.shapes.size(); ++place) shape = joined(node, shape, node.shape(place));
    return {shape};
}

Sides without(const Sides& shape, const std::set<std::size_t>& axes, std::int64_t keep) {
    Sides found;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        bool is_among = axes.count(axis) != 0;
        if (keep != 0)
            found.push_back(is_among ? 1 : shape[axis]);
        else if (!is_among)
            found.push_back(shape[axis]);
    }
    return found;
}

Shapes reduce(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    Sides given = node.list("axes", {});
    if (given.empty() && node.has(1)) given = node.integers(1);
    if (given.empty() && node.integer("noop_with_empty_axes", 0) != 0) return {shape};
    std::set<std::size_t> axes;
    for (std::int64_t axis : given) axes.insert(node.axis(axis, shape.size()));
    if (given.empty())
        for (std::size_t axis = 0; axis < shape.size(); ++axis) axes.insert(axis);
    return {without(shape, axes, node.integer("keepdims", 1))};
}

Shapes arg_reduce(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    return {without(shape, {node.axis(node.integer("axis", 0), shape.size())}, node.integer("keepdims", 1))};
}

bool is_same_padding(std::string_view mode) { return mode == "SAME_UPPER" || mode == "SAME_LOWER"; }

struct Window {
    Sides strides, dilations, pads;
    std::string_view mode;

    Window(const SizedNode& node, const Sides& kernel, std::size_t count, const Sides& more)
        : strides(node.list("strides", Sides(count, 1))), dilations(node.list("dilations", Sides(count, 1))),
          pads(node.list("pads", Sides(2 * count, 0))), mode(node.text("auto_pad", "NOTSET")) {
        node.need(kernel.size() == count && strides.size() == count && dilations.size() == count && more.size() == count &&
                      pads.size() == 2 * count, "sizes of the window");
        node.need(are_all(kernel, 1, most_step) && are_all(strides, 1, most_step) && are_all(dilations, 1, most_step), "steps of the window");
        node.need(are_all(pads, 0, most_step) && are_all(more, 0, most_step), "padding");
        node.need(mode == "NOTSET" || mode == "VALID" || is_same_padding(mode), "a way of padding");
    }
};

// The sides of what a window gives that moves over these.
Sides moved_over(const SizedNode& node, const Sides& sides, const Sides& kernel) {
    std::size_t count = sides.size();
    Window window(node, kernel, count, Sides(count, 0));
    Sides found;
    for (std::size_t axis = 0; axis < count; ++axis) {
        std::int64_t side = sides[axis], stride = window.strides[axis];
        if (is_same_padding(window.mode)) {
            found.push_back(divided_up(side, stride));
            continue;
        }
        bool is_valid = window.mode == "VALID";
        std::int64_t before = is_valid ? 0 : window.pads[axis], after = is_valid ? 0 : window.pads[axis + count];
        std::int64_t room = side + before + after - (window.dilations[axis] * (kernel[axis] - 1) + 1);
        node.need(room >= 0, "a window that is larger than what it moves over");
        std::int64_t steps = room / stride + 1;
        if (node.integer("ceil_mode", 0) != 0 && room % stride != 0 && steps * stride < side + before) ++steps;
        found.push_back(steps);
    }
    return found;
}

Shapes conv_of(const SizedNode& node, std::size_t place) {
    const Sides &shape = node.shape(0), &weight = node.shape(place);
    std::int64_t group = node.integer("group", 1);
    node.need(shape.size() == weight.size() && shape.size() >= 3 && group >= 1, "ranks and groups");
    node.need(shape[1] == weight[1] * group && weight[0] % group == 0, "channels");
    Sides kernel = from(weight, 2, weight.size());
    node.need(node.list("kernel_shape", kernel) == kernel, "the kernel");
    return {joined_lists({{shape[0], weight[0]}, moved_over(node, from(shape, 2, shape.size()), kernel)})};
}

Shapes conv(const SizedNode& node) { return conv_of(node, 1); }
Shapes quantised_conv(const SizedNode& node) { return conv_of(node, 3); }

Shapes conv_transpose(const SizedNode& node) {
    const Sides &shape = node.shape(0), &weight = node.shape(1);
    std::int64_t group = node.integer("group", 1);
    node.need(shape.size() == weight.size() && shape.size() >= 3 && group >= 1 && shape[1] == weight[0], "ranks, groups and channels");
    Sides kernel = from(weight, 2, weight.size());
    node.need(weight[0] % group == 0 && node.list("kernel_shape", kernel) == kernel, "the kernel");
    std::size_t count = shape.size() - 2;
    Sides more = node.list("output_padding", Sides(count, 0)), target = node.list("output_shape", {});
    Window window(node, kernel, count, more);
    Sides found{shape[0], weight[1] * group};
    if (!target.empty()) {
        node.need(target.size() == count, "the shape of the output");
        return {joined_lists({found, target})};
    }
    for (std::size_t axis = 0; axis < count; ++axis) {
        std::int64_t side = shape[axis + 2];
        if (is_same_padding(window.mode)) {
            found.push_back(side * window.strides[axis]);
            continue;
        }
        std::int64_t taken = window.mode == "VALID" ? 0 : window.pads[axis] + window.pads[axis + count];
        std::int64_t whole = window.strides[axis] * (side - 1) + more[axis] + window.dilations[axis] * (kernel[axis] - 1) + 1 - taken;
        node.need(whole >= 0, "padding that is larger than the output");
        found.push_back(whole);
    }
    return {found};
}

Shapes pool(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    node.need(shape.size() >= 3, "ranks");
    Sides pooled = joined_lists({from(shape, 0, 2), moved_over(node, from(shape, 2, shape.size()), node.list("kernel_shape", {}))});
    return Shapes(node.name == "MaxPool" ? 2 : 1, pooled);
}

Shapes global_pool(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    node.need(shape.size() >= 3, "ranks");
    return {joined_lists({from(shape, 0, 2), Sides(shape.size() - 2, 1)})};
}

Shapes matmul_of(const SizedNode& node, std::size_t place) {
    Sides left = node.shape(0), right = node.shape(place);
    node.need(!left.empty() && !right.empty(), "ranks");
    bool has_rows = left.size() > 1, has_columns = right.size() > 1;
    if (!has_rows) left.insert(left.begin(), 1);
    if (!has_columns) right.push_back(1);
    node.need(left.back() == right[right.size() - 2], "shapes that do not fit");
    Sides found = joined(node, from(left, 0, left.size() - 2), from(right, 0, right.size() - 2));
    if (has_rows) found.push_back(left[left.size() - 2]);
    if (has_columns) found.push_back(right.back());
    return {found};
}

Shapes matmul(const SizedNode& node) { return matmul_of(node, 1); }
Shapes quantised_matmul(const SizedNode& node) { return matmul_of(node, 3); }

Shapes gemm(const SizedNode& node) {
    Sides one = node.shape(0), other = node.shape(1);
    node.need(one.size() == 2 && other.size() == 2, "ranks");
    if (node.integer("transA", 0) != 0) std::swap(one[0], one[1]);
    if (node.integer("transB", 0) != 0) std::swap(other[0], other[1]);
    node.need(one[1] == other[0], "shapes that do not fit");
    return {{one[0], other[1]}};
}

Sides with_side(Sides shape, std::size_t axis, std::int64_t side) {
    shape[axis] = side;
    return shape;
}

Shapes concat(const SizedNode& node) {
    const Sides& first = node.shape(0);
    std::size_t axis = node.axis(node.integer("axis", 0), first.size());
    std::int64_t whole = 0;
    for (std::size_t place = 0; place < node.shapes.size(); ++place) {
        const Sides& shape = node.shape(place);
        node.need(shape.size() == first.size() && with_side(shape, axis, 0) == with_side(first, axis, 0), "shapes that do not fit");
        whole += shape[axis];
    }
    return {with_side(first, axis, whole)};
}

Shapes split(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    auto count = static_cast<std::int64_t>(node.outputs);
    std::size_t axis = node.axis(node.integer("axis", 0), shape.size());
    Sides parts;
    if (node.has(1)) {
        parts = node.integers(1);
    } else {
        std::int64_t each = divided_up(shape[axis], count);
        parts.assign(node.outputs, each);
        parts.back() = shape[axis] - each * (count - 1);
    }
    bool fits = parts.size() == node.outputs && are_all(parts, 0, largest_number) &&
                std::accumulate(parts.begin(), parts.end(), std::int64_t{0}) == shape[axis];
    node.need(fits, "parts that do not fit");
    Shapes found;
    for (std::int64_t part : parts) found.push_back(with_side(shape, axis, part));
    return found;
}

Shapes slice(const SizedNode& node) {
    Sides sides = node.shape(0), starts = node.integers(1), ends = node.integers(2), axes, steps(starts.size(), 1);
    if (node.has(3)) {
        axes = node.integers(3);
    } else {
        axes.resize(starts.size());
        std::iota(axes.begin(), axes.end(), 0);
    }
    if (node.has(4)) steps = node.integers(4);
    node.need(starts.size() == ends.size() && starts.size() == axes.size() && starts.size() == steps.size(), "lists of different lengths");
    for (std::size_t place = 0; place < starts.size(); ++place) {
        std::size_t axis = node.axis(axes[place], sides.size());
        std::int64_t side = sides[axis], step = steps[place], start = starts[place], end = ends[place];
        node.need(step != 0, "a step of nothing");
        std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? side : side - 1;
        std::int64_t first = std::min(std::max(start < 0 ? start + side : start, low), high);
        std::int64_t last = std::min(std::max(end < 0 ? end + side : end, low), high);
        std::int64_t gap = step > 0 ? last - first : first - last;
        sides[axis] = gap <= 0 ? 0 : divided_up(gap, std::abs(step));
    }
    return {sides};
}

Shapes gather(const SizedNode& node) {
    const Sides &shape = node.shape(0), &taken = node.shape(1);
    std::size_t axis = node.axis(node.integer("axis", 0), shape.size());
    return {joined_lists({from(shape, 0, axis), taken, from(shape, axis + 1, shape.size())})};
}

Shapes gather_elements(const SizedNode& node) {
    node.need(node.shape(0).size() == node.shape(1).size(), "ranks");
    return {node.shape(1)};
}

Shapes gather_nd(const SizedNode& node) {
    const Sides &shape = node.shape(0), &taken = node.shape(1);
    std::int64_t batch = node.integer("batch_dims", 0), rank = static_cast<std::int64_t>(shape.size());
    node.need(!taken.empty() && batch >= 0 && batch < std::min(rank, static_cast<std::int64_t>(taken.size())), "ranks");
    auto skipped = static_cast<std::size_t>(batch);
    bool fits = taken.back() >= 1 && taken.back() <= rank - batch && from(shape, 0, skipped) == from(taken, 0, skipped);
    node.need(fits, "indices that do not fit");
    std::size_t kept = static_cast<std::size_t>(batch + taken.back());
    return {joined_lists({from(taken, 0, taken.size() - 1), from(shape, kept, shape.size())})};
}

Shapes transpose(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    Sides straight(shape.size());
    std::iota(straight.begin(), straight.end(), 0);
    Sides order = node.list("perm", Sides(straight.rbegin(), straight.rend())), sorted = order;
    std::sort(sorted.begin(), sorted.end());
    node.need(sorted == straight, "an order of other axes");
    Sides found;
    for (std::int64_t axis : order) found.push_back(shape[static_cast<std::size_t>(axis)]);
    return {found};
}

// The product; refused once it is beyond every size, unless a side is nothing.
std::int64_t bounded_product(const SizedNode& node, const Sides& sides) {
    if (std::find(sides.begin(), sides.end(), 0) != sides.end()) return 0;
    std::int64_t product = 1;
    for (std::int64_t side : sides) {
        product *= side;
        node.need(product <= largest_number, "a shape of another size");
    }
    return product;
}

Shapes reshape(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    Sides sides = node.integers(1);
    std::int64_t elements = bounded_product(node, shape);
    if (node.integer("allowzero", 0) == 0)
        for (std::size_t place = 0; place < sides.size(); ++place)
            if (sides[place] == 0) {
                node.need(place < shape.size(), "an axis that is not there");
                sides[place] = shape[place];
            }
    node.need(are_all(sides, -1, largest_number) && std::count(sides.begin(), sides.end(), -1) <= 1, "sides");
    auto open = std::find(sides.begin(), sides.end(), -1);
    if (open != sides.end()) {
        *open = 1;
        std::int64_t rest = bounded_product(node, sides);
        node.need(rest > 0 && elements % rest == 0, "a shape of another size");
        *open = elements / rest;
    }
    node.need(bounded_product(node, sides) == elements, "a shape of another size");
    return {sides};
}

Shapes flatten(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    auto rank = static_cast<std::int64_t>(shape.size());
    std::int64_t axis = node.integer("axis", 1);
    node.need(axis >= -rank && axis <= rank, "the axis");
    auto at = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
    return {{bounded_product(node, from(shape, 0, at)), bounded_product(node, from(shape, at, shape.size()))}};
}

Shapes squeeze(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    std::set<std::size_t> axes;
    if (node.has(1)) {
        for (std::int64_t axis : node.integers(1)) axes.insert(node.axis(axis, shape.size()));
    } else {
        for (std::size_t axis = 0; axis < shape.size(); ++axis)
            if (shape[axis] == 1) axes.insert(axis);
    }
    node.need(std::all_of(axes.begin(), axes.end(), [&](std::size_t axis) { return shape[axis] == 1; }), "an axis that is not one long");
    return {without(shape, axes, 0)};
}

Shapes unsqueeze(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    Sides given = node.integers(1), found;
    std::size_t rank = shape.size() + given.size(), next = 0;
    std::set<std::size_t> axes;
    for (std::int64_t axis : given) axes.insert(node.axis(axis, rank));
    node.need(axes.size() == given.size(), "an axis twice");
    for (std::size_t axis = 0; axis < rank; ++axis) found.push_back(axes.count(axis) != 0 ? 1 : shape[next++]);
    return {found};
}

Shapes expand(const SizedNode& node) {
    Sides target = node.integers(1);
    node.need(are_all(target, 0, largest_number), "a side below nothing");
    return {joined(node, node.shape(0), target)};
}

Shapes tile(const SizedNode& node) {
    Sides sides = node.shape(0), times = node.integers(1);
    node.need(times.size() == sides.size() && are_all(times, 0, largest_number), "repeats that do not fit");
    for (std::size_t axis = 0; axis < sides.size(); ++axis) sides[axis] *= times[axis];
    return {sides};
}

Shapes pad(const SizedNode& node) {
    Sides sides = node.shape(0), pads = node.integers(1), axes(sides.size());
    std::iota(axes.begin(), axes.end(), 0);
    if (node.has(3)) axes = node.integers(3);
    node.need(pads.size() == 2 * axes.size() && are_all(pads, -most_step, most_step), "padding");
    for (std::size_t place = 0; place < axes.size(); ++place) {
        std::size_t axis = node.axis(axes[place], sides.size());
        sides[axis] += pads[place] + pads[place + axes.size()];
        node.need(sides[axis] >= 0, "padding below nothing");
    }
    return {sides};
}

Shapes resize(const SizedNode& node) {
    Sides sides = node.shape(0), straight(sides.size());
    std::iota(straight.begin(), straight.end(), 0);
    std::vector<std::size_t> axes;
    for (std::int64_t axis : node.list("axes", straight)) axes.push_back(node.axis(axis, sides.size()));
    node.need(node.text("keep_aspect_ratio_policy", "stretch") == "stretch", "a policy for the aspect ratio");
    bool has_sizes = node.has(3);
    if (has_sizes) node.integers(3);
    const std::vector<double>& values = node.constants(has_sizes ? 3 : 2).values;
    node.need(values.size() == axes.size(), "sizes that do not fit");
    for (std::size_t place = 0; place < axes.size(); ++place) {
        double value = values[place];
        node.need(value >= 0 && value <= static_cast<double>(largest_number), "sizes that do not fit");
        std::int64_t& side = sides[axes[place]];
        side = static_cast<std::int64_t>(has_sizes ? value : std::floor(static_cast<double>(side) * value));
    }
    return {sides};
}

Shapes depth_to_space(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    std::int64_t block = node.integer("blocksize", 0);
    node.need(shape.size() == 4 && block >= 1 && block <= most_step && shape[1] % (block * block) == 0, "the block");
    return {{shape[0], shape[1] / (block * block), shape[2] * block, shape[3] * block}};
}

Shapes space_to_depth(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    std::int64_t block = node.integer("blocksize", 0);
    node.need(shape.size() == 4 && block >= 1 && block <= most_step, "the block");
    node.need(shape[2] % block == 0 && shape[3] % block == 0, "the block");
    return {{shape[0], shape[1] * block * block, shape[2] / block, shape[3] / block}};
}

Shapes constant_of_shape(const SizedNode& node) {
    Sides sides = node.integers(0);
    node.need(are_all(sides, 0, largest_number), "a side below nothing");
    return {sides};
}

Shapes shape_of(const SizedNode& node) {
    auto rank = static_cast<std::int64_t>(node.shape(0).size());
    auto placed = [&](std::int64_t value) { return std::min(std::max(value < 0 ? value + rank : value, std::int64_t{0}), rank); };
    std::int64_t start = placed(node.integer("start", 0)), end = placed(node.integer("end", rank));
    return {{std::max<std::int64_t>(0, end - start)}};
}

Shapes size_of(const SizedNode&) { return {Sides{}}; }

Shapes one_hot(const SizedNode& node) {
    Sides shape = node.shape(0), depth = node.integers(1);
    std::size_t axis = node.axis(node.integer("axis", -1), shape.size() + 1);
    node.need(depth.size() == 1 && depth[0] >= 0, "the depth");
    shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), depth[0]);
    return {shape};
}

Shapes top_k(const SizedNode& node) {
    Sides shape = node.shape(0), count = node.integers(1);
    std::size_t axis = node.axis(node.integer("axis", -1), shape.size());
    node.need(count.size() == 1 && count[0] >= 0 && count[0] <= shape[axis], "how many");
    return Shapes(2, with_side(shape, axis, count[0]));
}

Shapes recurrent(const SizedNode& node) {
    const Sides &shape = node.shape(0), &weight = node.shape(1), &repeated = node.shape(2);
    node.need(shape.size() == 3 && weight.size() == 3 && repeated.size() == 3 && node.integer("layout", 0) == 0, "ranks and layout");
    std::int64_t directions = node.text("direction", "forward") == "bidirectional" ? 2 : 1;
    node.need(weight[0] == directions && repeated[0] == directions && weight[2] == shape[2], "weights that do not fit");
    std::int64_t gates = node.name == "RNN" ? 1 : node.name == "GRU" ? 3 : 4, hidden = repeated[2];
    node.need(weight[1] == gates * hidden && repeated[1] == gates * hidden, "weights that do not fit");
    node.need(node.integer("hidden_size", hidden) == hidden, "the number of hidden units");
    Sides last{directions, shape[1], hidden};
    Shapes found{joined_lists({{shape[0]}, last}), last};
    if (node.name == "LSTM") found.push_back(last);
    return found;
}

Shapes einsum(const SizedNode& node) {
    std::string equation(node.text("equation", ""));
    equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
    std::size_t arrow = equation.find("->");
    node.need(arrow != std::string::npos, "an equation without its answer");
    std::vector<std::string> terms{""};
    for (char letter : equation.substr(0, arrow)) {
        if (letter == ',')
            terms.emplace_back();
        else
            terms.back() += letter;
    }
    std::string right = equation.substr(arrow + 2), letters = right;
    node.need(terms.size() == node.shapes.size(), "an equation without its answer");
    for (const std::string& term : terms) letters += term;
    node.need(std::all_of(letters.begin(), letters.end(), [](char letter) {
        return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    }), "an equation");
    std::map<char, std::int64_t> sides;
    for (std::size_t place = 0; place < terms.size(); ++place) {
        const Sides& shape = node.shape(place);
        node.need(terms[place].size() == shape.size(), "ranks");
        for (std::size_t axis = 0; axis < shape.size(); ++axis)
            node.need(sides.emplace(terms[place][axis], shape[axis]).first->second == shape[axis], "shapes that do not fit");
    }
    Sides found;
    for (char letter : right) {
        auto side = sides.find(letter);
        node.need(side != sides.end() && std::count(right.begin(), right.end(), letter) == 1, "an equation");
        found.push_back(side->second);
    }
    return {found};
}

Shapes grid_sample(const SizedNode& node) {
    const Sides &shape = node.shape(0), &grid = node.shape(1);
    bool fits = shape.size() == grid.size() && shape.size() >= 3 && shape[0] == grid[0] &&
                grid.back() == static_cast<std::int64_t>(shape.size()) - 2;
    node.need(fits, "the grid");
    return {joined_lists({from(shape, 0, 2), from(grid, 1, grid.size() - 1)})};
}

Shapes det(const SizedNode& node) {
    const Sides& shape = node.shape(0);
    node.need(shape.size() >= 2 && shape.back() == shape[shape.size() - 2], "a matrix");
    return {from(shape, 0, shape.size() - 2)};
}

struct NamedRule {
    std::string_view name;
    Rule rule;
};

#include "size_rules.inc"

}  // namespace

std::int64_t clamped(std::int64_t value) { return std::max(-largest_number, std::min(largest_number, value)); }

float float_of(std::string_view bytes) {
    float value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

void SizedNode::unknown(const std::string& why) const {
    throw NotAllowed{"PE-BUNDLE-034", std::string(name) + " whose size cannot be told (" + why + ")", "sizes that stand in the graph"};
}

bool SizedNode::has(std::size_t place) const {
    return place < shapes.size() && shapes[place] != nullptr && !(numbers[place] != nullptr && numbers[place]->values.empty());
}

const Sides& SizedNode::shape(std::size_t place) const {
    if (place >= shapes.size() || shapes[place] == nullptr) unknown("no input " + std::to_string(place));
    return *shapes[place];
}

const Numbers& SizedNode::constants(std::size_t place) const {
    if (place >= numbers.size() || numbers[place] == nullptr) unknown("the input " + std::to_string(place) + " is no small constant");
    return *numbers[place];
}

Sides SizedNode::integers(std::size_t place) const {
    const Numbers& found = constants(place);
    need(found.are_whole || found.values.empty(), "an input of no whole numbers");
    Sides values;
    for (double value : found.values) values.push_back(static_cast<std::int64_t>(value));
    return values;
}

const Message* SizedNode::attribute(std::string_view key) const {
    for (const Field& one : node->list(node_field::attribute))
        if (one.message->text(attribute_field::name) == key) return one.message.get();
    return nullptr;
}

std::int64_t SizedNode::integer(std::string_view key, std::int64_t otherwise) const {
    const Message* found = attribute(key);
    return found == nullptr ? otherwise : clamped(found->integer(attribute_field::i));
}

Sides SizedNode::list(std::string_view key, Sides otherwise) const {
    const Message* found = attribute(key);
    if (found == nullptr) return otherwise;
    Sides values = found->integers(attribute_field::ints);
    for (std::int64_t& value : values) value = clamped(value);
    return values;
}

std::string_view SizedNode::text(std::string_view key, std::string_view otherwise) const {
    const Message* found = attribute(key);
    return found == nullptr ? otherwise : found->text(attribute_field::s);
}

std::size_t SizedNode::axis(std::int64_t value, std::size_t rank) const {
    auto count = static_cast<std::int64_t>(rank);
    if (value < -count || value >= count) unknown("the axis " + std::to_string(value) + " of " + std::to_string(rank));
    return static_cast<std::size_t>(value < 0 ? value + count : value);
}

std::vector<Sides> sizes_of(const SizedNode& node) {
    const NamedRule* found = std::lower_bound(std::begin(size_rules), std::end(size_rules), node.name,
                                              [](const NamedRule& one, std::string_view wanted) { return one.name < wanted; });
    if (found == std::end(size_rules) || found->name != node.name) node.unknown("no rule");
    return found->rule(node);
}

}  // namespace physedge
