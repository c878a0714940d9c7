// How large the outputs of every operator on the list are; see graph_size_rules.py, which has the same rules.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph_wire.hpp"

namespace physedge {

using Sides = std::vector<std::int64_t>;

// The values of a small constant; whole numbers are held within 2^31.
struct Numbers {
    bool are_whole = true;
    std::vector<double> values;
};

// A node with what is known of its inputs.
struct SizedNode {
    std::string_view name;
    std::vector<const Sides*> shapes;     // nullptr for an input that is left out
    std::vector<const Numbers*> numbers;  // nullptr for what is no small constant
    const Message* node;
    std::size_t outputs;

    [[noreturn]] void unknown(const std::string& why) const;
    void need(bool holds, const char* why) const {
        if (!holds) unknown(why);
    }
    bool has(std::size_t place) const;
    const Sides& shape(std::size_t place) const;
    const Numbers& constants(std::size_t place) const;
    Sides integers(std::size_t place) const;
    const Message* attribute(std::string_view key) const;
    std::int64_t integer(std::string_view key, std::int64_t otherwise) const;
    Sides list(std::string_view key, Sides otherwise) const;
    std::string_view text(std::string_view key, std::string_view otherwise) const;
    std::size_t axis(std::int64_t value, std::size_t rank) const;
};

std::int64_t clamped(std::int64_t value);
float float_of(std::string_view bytes);

// One shape for each output. Throws NotAllowed, PE-BUNDLE-034.
std::vector<Sides> sizes_of(const SizedNode& node);

}  // namespace physedge
