// What a graph holds in memory while it runs: every size in it, from its inputs to its answers; see graph_sizes.py.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "graph_size_rules.hpp"

namespace physedge {

// How many elements a shape has that is within the limits. Throws NotAllowed, PE-BUNDLE-034.
std::uint64_t elements_of(const Sides& dims, const std::string& what);

// A shape for people.
std::string shown(const Sides& dims);

class Sizes {
public:
    Sizes(const Message::List& nodes, const Message::List& outputs);

    // A tensor that stands in the file; its size was checked.
    void constant(const Message& tensor);
    // An input of the graph.
    void input(std::string_view name, const Sides& shape) { value(name, shape, "an input"); }
    // One node, whose operator and attributes were checked.
    void node(std::size_t index, const Message& node);
    // After the last node: every answer must be there.
    void end() const;

private:
    std::map<std::string_view, Sides> shapes_;
    std::map<std::string_view, Numbers> numbers_;
    std::map<std::string_view, std::uint64_t> held_;
    std::map<std::string_view, std::size_t> last_use_;
    std::vector<std::string_view> outputs_;
    std::uint64_t live_ = 0, total_ = 0;

    void give(std::string_view name, const Sides& shape);
    void value(std::string_view name, const Sides& shape, const std::string& what);
    void node_constant(std::string_view name, const Message& node);
    void tensor(std::string_view name, const Message& tensor);
};

}  // namespace physedge
