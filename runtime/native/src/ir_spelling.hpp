// OpenVINO's XML in one spelling, and a reader that takes nothing else; see ir_spelling.py.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace physedge {

struct IrPort {
    std::string precision;
    std::vector<std::uint64_t> dims;

    bool operator==(const IrPort& other) const { return precision == other.precision && dims == other.dims; }
};

struct IrLayer {
    std::string kind, version;
    std::vector<std::pair<std::string_view, std::string>> data;  // in the order of the names
    std::vector<IrPort> inputs, outputs;

    const std::string* find(std::string_view key) const;
};

struct IrNet {
    std::vector<IrLayer> layers;
    std::vector<std::array<std::uint64_t, 4>> edges;  // from layer, from port, to layer, to port
};

// Throws NotCanonical, NotAllowed.
IrNet read_net(std::string_view xml);

// The number that stands at a place in the shortest form; `at` is behind it then. Throws NotCanonical.
std::uint64_t whole_number(std::string_view text, std::size_t& at);

// A text that is one number, or numbers with commas between them. Throws NotCanonical.
std::uint64_t only_whole_number(std::string_view text);
std::vector<std::uint64_t> whole_numbers(std::string_view text);

}  // namespace physedge
