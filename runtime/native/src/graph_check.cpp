#include "graph_check.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "graph_nodes.hpp"
#include "graph_wire.hpp"
#include "ir_check.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

#include "operators.inc"

unsigned bits_of(std::int64_t kind) {
    return kind >= 0 && kind < static_cast<std::int64_t>(sizeof kind_bits) ? kind_bits[kind] : 0;
}

std::string shown(const std::vector<std::int64_t>& dims) {
    std::string text;
    for (std::size_t index = 0; index < dims.size() && index < 6; ++index)
        text += (index == 0 ? "" : " x ") + std::to_string(dims[index]);
    return text + (dims.size() > 6 ? " ..." : "");
}

// A product of sides that are each within the limits; it stays beyond the limit once it is.
class Product {
public:
    void times(std::int64_t factor) {
        value_ *= static_cast<std::uint64_t>(factor);
        if (value_ > most_elements && factor != 0) value_ = most_elements + 1;
    }
    std::uint64_t value() const { return value_; }

private:
    std::uint64_t value_ = 1;
};

// How many elements a shape has that is within the limits.
std::uint64_t elements_of(const std::vector<std::int64_t>& dims, const char* what) {
    bool are_sides = dims.size() <= most_axes && std::all_of(dims.begin(), dims.end(), [](std::int64_t side) {
        return side >= 0 && side <= static_cast<std::int64_t>(most_elements);
    });
    Product elements;
    if (are_sides)
        for (std::int64_t side : dims) elements.times(side);
    if (!are_sides || elements.value() > most_elements)
        throw NotAllowed{"PE-BUNDLE-034", std::string(what) + " of the shape " + shown(dims), "a shape within the limits"};
    return elements.value();
}

// What is remembered of a tensor: if it is a short list of int64, its values.
std::vector<std::int64_t> check_tensor(const Message& tensor) {
    std::int64_t kind = tensor.integer(tensor_field::data_type);
    std::vector<std::int64_t> dims = tensor.integers(tensor_field::dims), values;
    if (tensor.integer(tensor_field::data_location) != 0)
        throw NotAllowed{"PE-BUNDLE-031", "a tensor whose data lies in another file", "data in the graph"};
    if (bits_of(kind) == 0) throw NotAllowed{"PE-BUNDLE-034", "a tensor of the data type " + std::to_string(kind), "numbers"};
    std::uint64_t elements = elements_of(dims, "a tensor");
    const Field* raw = tensor.find(tensor_field::raw_data);
    std::size_t held = raw == nullptr ? 0 : raw->bytes.size();
    if (raw == nullptr || held != (elements * bits_of(kind) + 7) / 8)
        throw NotAllowed{"PE-BUNDLE-034", "a tensor of the shape " + shown(dims) + " with " + std::to_string(held) + " bytes",
                         "the data that it names"};
    if (kind != int64_kind || held > short_bytes) return values;
    values.resize(held / sizeof(std::int64_t));
    if (held != 0) std::memcpy(values.data(), raw->bytes.data(), held);
    return values;
}

void check_value(const Message& value) {
    const Message* type = value.message(value_field::type);
    const Message* kind = type == nullptr ? nullptr : type->message(type_field::tensor_type);
    if (kind == nullptr) throw NotAllowed{"PE-BUNDLE-035", "a value that is no tensor", "tensors"};
    std::int64_t element = kind->integer(tensor_type_field::elem_type);
    if (bits_of(element) == 0) throw NotAllowed{"PE-BUNDLE-034", "a value of the data type " + std::to_string(element), "numbers"};
    const Message* shape = kind->message(tensor_type_field::shape);
    std::vector<std::int64_t> sides;
    bool is_known = shape != nullptr;
    if (is_known)
        for (const Field& axis : shape->list(shape_field::dim)) {
            const Field* side = axis.message->find(dimension_field::dim_value);
            is_known = is_known && side != nullptr && axis.message->find(dimension_field::dim_param) == nullptr;
            if (side != nullptr) sides.push_back(side->integer);
        }
    if (!is_known) throw NotAllowed{"PE-BUNDLE-034", "a value without a size", "sizes in whole numbers"};
    elements_of(sides, "a value");
}

void check_shape(std::string_view name, const std::vector<std::int64_t>& values) {
    Product elements;
    bool is_wide = false;
    for (std::int64_t value : values) {
        is_wide = is_wide || value > most_padding || value < -most_padding;
        if (value > 0) elements.times(std::min(value, static_cast<std::int64_t>(most_elements) + 1));
    }
    if (name == "Pad" ? is_wide : elements.value() > most_elements)
        throw NotAllowed{"PE-BUNDLE-034", std::string(name) + " to " + shown(values), "a shape within the limits"};
}

class Walk {
public:
    void model(const Message& model) {
        const Message* body = model.message(model_field::graph);
        if (body == nullptr) throw NotWhole{"no graph"};
        std::int64_t version = model.integer(model_field::ir_version);
        if (version < oldest_ir || version > newest_ir)
            throw NotAllowed{"PE-BUNDLE-033", "the version " + std::to_string(version) + " of ONNX's format",
                             std::to_string(oldest_ir) + " to " + std::to_string(newest_ir)};
        opset_ = operator_set(model.list(model_field::opset_import));
        graph(*body);
        for (const auto& [name, input] : shapes_wanted_)
            if (auto found = values_.find(input); found != values_.end()) check_shape(name, found->second);
    }

private:
    std::int64_t opset_ = 0;
    std::map<std::string_view, std::vector<std::int64_t>> values_;
    std::vector<std::pair<std::string_view, std::string_view>> shapes_wanted_;  // operator, input

    std::int64_t operator_set(const Message::List& imported) const {
        for (const Field& set : imported) {
            std::string_view domain = set.message->text(operator_set_field::domain);
            if (!domain.empty())
                throw NotAllowed{"PE-BUNDLE-033", "operators of the domain " + quoted(domain), "operators of the ONNX standard"};
        }
        if (imported.size() != 1)
            throw NotAllowed{"PE-BUNDLE-033", std::to_string(imported.size()) + " operator sets", "one"};
        std::int64_t version = imported[0].message->integer(operator_set_field::version);
        if (version < oldest_opset || version > newest_opset)
            throw NotAllowed{"PE-BUNDLE-033", "the operator set " + std::to_string(version),
                             std::to_string(oldest_opset) + " to " + std::to_string(newest_opset)};
        return version;
    }

    void graph(const Message& graph) {
        if (graph.list(graph_field::node).size() > most_nodes)
            throw NotAllowed{"PE-BUNDLE-034", "more than " + std::to_string(most_nodes) + " nodes", "a graph within the limits"};
        for (const Field& tensor : graph.list(graph_field::initializer))
            values_[tensor.message->text(tensor_field::name)] = check_tensor(*tensor.message);
        for (unsigned values : {graph_field::input, graph_field::output, graph_field::value_info})
            for (const Field& value : graph.list(values)) check_value(*value.message);
        for (const Field& one : graph.list(graph_field::node)) node(*one.message);
    }

    void node(const Message& node) {
        std::string_view name = node.text(node_field::op_type), domain = node.text(node_field::domain);
        if (!domain.empty())
            throw NotAllowed{"PE-BUNDLE-033", "the operator " + quoted(name) + " of the domain " + quoted(domain),
                             "operators of the ONNX standard"};
        if (!std::binary_search(std::begin(operators), std::end(operators), name))
            throw NotAllowed{"PE-BUNDLE-032", "the operator " + quoted(name), "operators that docs/security.md lists"};
        for (const Field& note : node.list(node_field::metadata_props))
            if (note.message->text(note_field::key) != float_mark) throw NotCanonical{"a note of another program at a node"};
        check_node(node, opset_);
        Message::List inputs = node.list(node_field::input), outputs = node.list(node_field::output);
        const Field* constant = nullptr;
        std::vector<std::int64_t> values;
        for (const Field& attribute : node.list(node_field::attribute))
            if (const Field* tensor = attribute.message->find(attribute_field::t)) {
                values = check_tensor(*tensor->message);
                constant = tensor;
            }
        if (constant != nullptr && outputs.size() != 0) values_[outputs[0].bytes] = std::move(values);
        for (const auto& [wanted, place] : shape_inputs)
            if (wanted == name && place < inputs.size()) shapes_wanted_.emplace_back(name, inputs[place].bytes);
    }
};

}  // namespace

void check_graph(std::string_view graph, const std::string& origin) {
    if (is_ir(graph)) return check_ir(graph, origin);
    try {
        Walk().model(read_model(graph));
    } catch (const NotWhole& broken) {
        refuse_bundle("PE-BUNDLE-030", origin + " is no whole ONNX graph (" + broken.why + ")",
                      "the graph that physedge export wrote");
    } catch (const NotCanonical& other) {
        refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-036", origin + " is not in the form that physedge writes (" + other.why + ")",
               "known fields only, each spelled in one way", "export the network again with this physedge");
    } catch (const NotAllowed& part) {
        refuse(PHYSEDGE_INTEGRITY, part.identifier.c_str(), origin + " has " + part.found, part.expected,
               "do not use it; its maker exports the network without this");
    }
}

}  // namespace physedge
