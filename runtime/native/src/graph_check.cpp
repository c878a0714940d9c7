#include "graph_check.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "graph_nodes.hpp"
#include "graph_sizes.hpp"
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

void check_tensor(const Message& tensor) {
    std::int64_t kind = tensor.integer(tensor_field::data_type);
    Sides dims = tensor.integers(tensor_field::dims);
    if (tensor.integer(tensor_field::data_location) != 0)
        throw NotAllowed{"PE-BUNDLE-031", "a tensor whose data lies in another file", "data in the graph"};
    if (bits_of(kind) == 0) throw NotAllowed{"PE-BUNDLE-034", "a tensor of the data type " + std::to_string(kind), "numbers"};
    std::uint64_t elements = elements_of(dims, "a tensor");
    const Field* raw = tensor.find(tensor_field::raw_data);
    std::size_t held = raw == nullptr ? 0 : raw->bytes.size();
    if (raw == nullptr || held != (elements * bits_of(kind) + 7) / 8)
        throw NotAllowed{"PE-BUNDLE-034", "a tensor of the shape " + shown(dims) + " with " + std::to_string(held) + " bytes",
                         "the data that it names"};
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

class Walk {
public:
    void model(const Message& model) {
        const Message* body = model.message(model_field::graph);
        if (body == nullptr) throw NotWhole{"no graph"};
        std::int64_t version = model.integer(model_field::ir_version);
        if (version < oldest_ir || version > newest_ir)
            throw NotAllowed{"PE-BUNDLE-033", "the version " + std::to_string(version) + " of ONNX's format",
                             std::to_string(oldest_ir) + " to " + std::to_string(newest_ir)};
        graph(*body, operator_set(model.list(model_field::opset_import)));
    }

private:
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

    void graph(const Message& graph, std::int64_t opset) const {
        Message::List nodes = graph.list(graph_field::node), inputs = graph.list(graph_field::input);
        if (nodes.size() > most_nodes)
            throw NotAllowed{"PE-BUNDLE-034", "more than " + std::to_string(most_nodes) + " nodes", "a graph within the limits"};
        for (const Field& tensor : graph.list(graph_field::initializer)) check_tensor(*tensor.message);
        for (unsigned values : {graph_field::input, graph_field::output, graph_field::value_info})
            for (const Field& value : graph.list(values)) check_value(*value.message);
        Sizes sizes(nodes, graph.list(graph_field::output));
        for (const Field& tensor : graph.list(graph_field::initializer)) sizes.constant(*tensor.message);
        for (const Field& value : inputs) {
            const Message* shape = value.message->message(value_field::type)->message(type_field::tensor_type)->message(tensor_type_field::shape);
            Sides sides;
            for (const Field& axis : shape->list(shape_field::dim)) sides.push_back(axis.message->integer(dimension_field::dim_value));
            sizes.input(value.message->text(value_field::name), sides);
        }
        for (std::size_t index = 0; index < nodes.size(); ++index) {
            node(*nodes[index].message, opset);
            sizes.node(index, *nodes[index].message);
        }
        sizes.end();
    }

    void node(const Message& node, std::int64_t opset) const {
        std::string_view name = node.text(node_field::op_type), domain = node.text(node_field::domain);
        if (!domain.empty())
            throw NotAllowed{"PE-BUNDLE-033", "the operator " + quoted(name) + " of the domain " + quoted(domain),
                             "operators of the ONNX standard"};
        if (!std::binary_search(std::begin(operators), std::end(operators), name))
            throw NotAllowed{"PE-BUNDLE-032", "the operator " + quoted(name), "operators that docs/security.md lists"};
        for (const Field& note : node.list(node_field::metadata_props))
            if (note.message->text(note_field::key) != float_mark) throw NotCanonical{"a note of another program at a node"};
        check_node(node, opset);
        for (const Field& attribute : node.list(node_field::attribute))
            if (const Message* tensor = attribute.message->message(attribute_field::t)) check_tensor(*tensor);
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
