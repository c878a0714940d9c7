#include "ir_check.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "graph_wire.hpp"
#include "ir_spelling.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

#include "ir_operators.inc"

constexpr std::size_t length_bytes = 8;

[[noreturn]] void refuse_graph(const std::string& identifier, const std::string& origin, const std::string& found,
                               const std::string& expected) {
    refuse(PHYSEDGE_INTEGRITY, identifier.c_str(), origin + " has " + found, expected,
           "do not use it; its maker exports the network without this");
}

std::uint64_t elements_of(const std::vector<std::uint64_t>& dims) {
    bool is_too_large = std::any_of(dims.begin(), dims.end(), [](std::uint64_t side) { return side > ir_most_elements; });
    bool is_empty = std::find(dims.begin(), dims.end(), 0u) != dims.end();
    std::uint64_t elements = is_empty ? 0 : 1;
    for (std::uint64_t side : dims)
        if (!is_too_large && !is_empty) {
            elements *= side;
            is_too_large = elements > ir_most_elements;
        }
    if (!is_too_large) return elements;
    std::string shown;
    for (std::uint64_t side : dims) shown += (shown.empty() ? "" : " x ") + std::to_string(side);
    throw NotAllowed{"PE-BUNDLE-034", "a tensor of the shape " + shown, "a shape within the limits"};
}

// `opset` and a number.
bool is_standard(std::string_view version) {
    if (version.substr(0, 5) != "opset") return false;
    try {
        only_whole_number(version.substr(5));
    } catch (const NotCanonical&) {
        return false;
    }
    return true;
}

// Check one layer; gives where the constants end that were named so far.
std::uint64_t check_layer(const IrLayer& layer, std::uint64_t end) {
    if (!std::binary_search(std::begin(ir_operators), std::end(ir_operators), std::string_view(layer.kind)))
        throw NotAllowed{"PE-BUNDLE-032", "the operator " + quoted(layer.kind), "operators that docs/security.md lists"};
    if (!is_standard(layer.version))
        throw NotAllowed{"PE-BUNDLE-033", quoted(layer.kind) + " of the set " + quoted(layer.version), "a standard operator set"};
    for (const IrPort& port : layer.inputs) elements_of(port.dims);
    for (const IrPort& port : layer.outputs) elements_of(port.dims);
    bool is_end = layer.kind == "Result";
    if (layer.outputs.empty() != is_end || (is_end && layer.inputs.size() != 1))
        throw NotCanonical{layer.kind + " with other ports than it has"};
    if (layer.kind != "Const" && layer.kind != "Parameter") return end;
    if (!layer.inputs.empty() || layer.outputs.size() != 1) throw NotCanonical{layer.kind + " with other ports than it has"};
    const std::string* shape = layer.find("shape");
    if (whole_numbers(shape == nullptr ? std::string_view{} : *shape) != layer.outputs[0].dims)
        throw NotAllowed{"PE-BUNDLE-034", "a " + layer.kind + " of another shape than its port's", "one shape"};
    if (layer.kind == "Parameter") return end;
    const std::string *type = layer.find("element_type"), *start = layer.find("offset"), *bytes = layer.find("size");
    if (layer.data.size() != 4 || type == nullptr || start == nullptr || bytes == nullptr || shape == nullptr)
        throw NotCanonical{"a constant with other attributes than it has"};
    std::uint64_t offset = only_whole_number(*start), size = only_whole_number(*bytes), bits = 0;
    for (const auto& [name, width] : ir_bits)
        if (name == *type) bits = width;
    if (bits == 0 || size != (elements_of(layer.outputs[0].dims) * bits + 7) / 8)
        throw NotAllowed{"PE-BUNDLE-034", "a constant that is not in its data as its shape says", "the data it names"};
    if (offset != end) throw NotCanonical{"a constant that does not lie behind the one before"};
    return end + size;
}

// Every input of every layer has one edge, in their order, from an output that was there before.
void check_edges(const IrNet& net) {
    auto edge = net.edges.begin();
    for (std::size_t to = 0; to < net.layers.size(); ++to)
        for (std::size_t place = 0; place < net.layers[to].inputs.size(); ++place, ++edge) {
            bool is_there = edge != net.edges.end() && (*edge)[2] == to && (*edge)[3] == place && (*edge)[0] < to;
            if (!is_there)
                throw NotCanonical{"no edge to the input " + std::to_string(place) + " of layer " + std::to_string(to) + " where it should stand"};
            const IrLayer& giver = net.layers[static_cast<std::size_t>((*edge)[0])];
            std::uint64_t port = (*edge)[1], inputs = giver.inputs.size();
            if (port < inputs || port - inputs >= giver.outputs.size())
                throw NotCanonical{"an edge from the port " + std::to_string(port) + ", which is no output"};
            if (!(giver.outputs[static_cast<std::size_t>(port - inputs)] == net.layers[to].inputs[place]))
                throw NotAllowed{"PE-BUNDLE-034", "an edge between two types or shapes", "one type and one shape"};
        }
    if (edge != net.edges.end()) throw NotCanonical{"an edge to no input"};
}

}  // namespace

bool is_ir(std::string_view graph) { return graph.substr(0, ir_mark.size()) == ir_mark; }

IrParts unpack_ir(std::string_view graph, const std::string& origin) {
    std::size_t start = ir_mark.size() + length_bytes;
    std::uint64_t length = 0;
    if (graph.size() >= start)
        for (std::size_t index = 0; index < length_bytes; ++index)
            length |= static_cast<std::uint64_t>(static_cast<unsigned char>(graph[ir_mark.size() + index])) << (8 * index);
    if (graph.size() < start || length > graph.size() - start)
        refuse_graph("PE-BUNDLE-030", origin, "no whole graph in it", "XML and constants of the stated length");
    return {graph.substr(start, static_cast<std::size_t>(length)), graph.substr(start + static_cast<std::size_t>(length))};
}

void check_ir(std::string_view graph, const std::string& origin) {
    IrParts parts = unpack_ir(graph, origin);
    try {
        IrNet net = read_net(parts.xml);
        if (net.layers.empty()) refuse_graph("PE-BUNDLE-030", origin, "no layer", "a graph");
        std::uint64_t end = 0;
        for (const IrLayer& layer : net.layers) end = check_layer(layer, end);
        if (end != parts.weights.size())
            throw NotCanonical{std::to_string(parts.weights.size()) + " bytes of constants, of which " + std::to_string(end) + " belong to one"};
        check_edges(net);
    } catch (const NotCanonical& other) {
        refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-036", origin + " is not in the form that physedge writes (" + other.why + ")",
               "plain elements, each spelled in one way", "export the network again with this physedge");
    } catch (const NotAllowed& part) {
        refuse_graph(part.identifier, origin, part.found, part.expected);
    }
}

}  // namespace physedge
