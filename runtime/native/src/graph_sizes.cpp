#include "graph_sizes.hpp"

#include <algorithm>
#include <cstring>

#include "text.hpp"

namespace physedge {

namespace {

#include "size_limits.inc"

[[noreturn]] void refuse_value(const std::string& found, const std::string& expected) {
    throw NotAllowed{"PE-BUNDLE-037", found, expected};
}

template <typename Number>
std::vector<double> read_as(std::string_view raw) {
    std::vector<double> values;
    for (std::size_t at = 0; at + sizeof(Number) <= raw.size(); at += sizeof(Number)) {
        Number value;
        std::memcpy(&value, raw.data() + at, sizeof value);
        if constexpr (sizeof(Number) == sizeof(std::int64_t))
            values.push_back(static_cast<double>(clamped(static_cast<std::int64_t>(value))));
        else
            values.push_back(static_cast<double>(value));
    }
    return values;
}

}  // namespace

std::string shown(const Sides& dims) {
    std::string text;
    for (std::size_t index = 0; index < dims.size() && index < 6; ++index)
        text += (index == 0 ? "" : " x ") + std::to_string(dims[index]);
    return text + (dims.size() > 6 ? " ..." : "");
}

std::uint64_t elements_of(const Sides& dims, const std::string& what) {
    bool are_sides = dims.size() <= most_axes && std::all_of(dims.begin(), dims.end(), [](std::int64_t side) {
        return side >= 0 && static_cast<std::uint64_t>(side) <= most_elements;
    });
    bool is_empty = std::find(dims.begin(), dims.end(), 0) != dims.end();
    std::uint64_t elements = is_empty ? 0 : 1;
    for (std::int64_t side : dims)
        if (are_sides && !is_empty) {
            elements *= static_cast<std::uint64_t>(side);
            are_sides = elements <= most_elements;
        }
    if (!are_sides) throw NotAllowed{"PE-BUNDLE-034", what + " of the shape " + shown(dims), "a shape within the limits"};
    return elements;
}

Sizes::Sizes(const Message::List& nodes, const Message::List& outputs) {
    for (std::size_t index = 0; index < nodes.size(); ++index)
        for (const Field& name : nodes[index].message->list(node_field::input)) last_use_[name.bytes] = index;
    for (const Field& output : outputs) {
        outputs_.push_back(output.message->text(value_field::name));
        last_use_[outputs_.back()] = nodes.size();
    }
}

void Sizes::give(std::string_view name, const Sides& shape) {
    if (name.empty() || !shapes_.emplace(name, shape).second)
        refuse_value("the value " + quoted(name) + " twice, or without a name", "each value once");
}

void Sizes::constant(const Message& tensor_of_graph) { tensor(tensor_of_graph.text(tensor_field::name), tensor_of_graph); }

void Sizes::tensor(std::string_view name, const Message& tensor) {
    give(name, tensor.integers(tensor_field::dims));
    std::int64_t kind = tensor.integer(tensor_field::data_type);
    std::string_view raw = tensor.text(tensor_field::raw_data);
    std::size_t width = kind == int64_kind ? 8 : 4;
    if ((kind != float32_kind && kind != int32_kind && kind != int64_kind) || raw.size() > most_numbers * width) return;
    numbers_[name] = {kind != float32_kind, kind == float32_kind ? read_as<float>(raw)
                                            : kind == int32_kind ? read_as<std::int32_t>(raw)
                                                                 : read_as<std::int64_t>(raw)};
}

void Sizes::value(std::string_view name, const Sides& shape, const std::string& what) {
    std::uint64_t elements = elements_of(shape, what);
    give(name, shape);
    held_[name] = elements;
    live_ += elements;
    total_ += elements;
    if (live_ > most_live || total_ > most_total)
        throw NotAllowed{"PE-BUNDLE-034",
                         "more than " + std::to_string(most_live) + " elements at a time, or " + std::to_string(most_total) + " in all",
                         "a graph within the limits"};
}

void Sizes::node_constant(std::string_view name, const Message& node) {
    Message::List attributes = node.list(node_field::attribute);
    if (attributes.size() != 1) refuse_value("a Constant with " + std::to_string(attributes.size()) + " values", "one value");
    const Message& attribute = *attributes[0].message;
    std::string_view key = attribute.text(attribute_field::name);
    if (key == "value") return tensor(name, *attribute.message(attribute_field::t));
    Numbers numbers;
    if (key == "value_int" || key == "value_ints") {
        for (const Field& one : attribute.list(key == "value_int" ? attribute_field::i : attribute_field::ints))
            numbers.values.push_back(static_cast<double>(clamped(one.integer)));
    } else if (key == "value_float" || key == "value_floats") {
        numbers.are_whole = false;
        for (const Field& one : attribute.list(key == "value_float" ? attribute_field::f : attribute_field::floats))
            numbers.values.push_back(static_cast<double>(float_of(one.bytes)));
    } else {
        throw NotAllowed{"PE-BUNDLE-034", "a Constant of text", "numbers"};
    }
    bool is_scalar = key == "value_int" || key == "value_float";
    give(name, is_scalar ? Sides{} : Sides{static_cast<std::int64_t>(numbers.values.size())});
    if (numbers.values.size() <= most_numbers) numbers_[name] = std::move(numbers);
}

void Sizes::node(std::size_t index, const Message& node) {
    std::string_view name = node.text(node_field::op_type);
    Message::List inputs = node.list(node_field::input), outputs = node.list(node_field::output);
    SizedNode sized{name, {}, {}, &node, outputs.size()};
    for (const Field& one : inputs) {
        auto shape = shapes_.find(one.bytes);
        auto numbers = numbers_.find(one.bytes);
        if (!one.bytes.empty() && shape == shapes_.end())
            refuse_value(std::string(name) + " with the input " + quoted(one.bytes) + " that nothing gives", "one before it");
        sized.shapes.push_back(shape == shapes_.end() ? nullptr : &shape->second);
        sized.numbers.push_back(numbers == numbers_.end() ? nullptr : &numbers->second);
    }
    if (name == "Constant") return node_constant(outputs[0].bytes, node);
    std::vector<Sides> shapes = sizes_of(sized);
    for (std::size_t place = 0; place < outputs.size(); ++place) {
        if (outputs[place].bytes.empty()) continue;
        if (place >= shapes.size()) sized.unknown("the output " + std::to_string(place));
        value(outputs[place].bytes, shapes[place], std::string(name) + " with an output");
    }
    for (const Message::List& names : {inputs, outputs})
        for (const Field& one : names) {
            auto last = last_use_.find(one.bytes);
            if (last != last_use_.end() && last->second != index) continue;
            auto held = held_.find(one.bytes);
            if (held == held_.end()) continue;
            live_ -= held->second;
            held_.erase(held);
        }
}

void Sizes::end() const {
    for (std::string_view name : outputs_)
        if (shapes_.find(name) == shapes_.end()) refuse_value("the answer " + quoted(name) + " that nothing gives", "one of a node");
}

}  // namespace physedge
