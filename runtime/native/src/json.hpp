// JSON as the manifest needs it: parsed with distrust, and written back in the one canonical form.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace physedge {

struct JsonError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Json {
    enum class Kind { null, boolean, integer, floating, string, array, object };

    Kind kind = Kind::null;
    bool boolean = false;
    std::string text;  // of a string; of an integer its digits, which may be more than a machine word holds
    double floating = 0;
    std::vector<Json> items;
    std::map<std::string, Json> members;

    bool is(Kind wanted) const { return kind == wanted; }
    // The member, or nullptr.
    const Json* find(const std::string& name) const;
    // The member; throws std::out_of_range where the schema did not promise it.
    const Json& at(const std::string& name) const { return members.at(name); }
    // An integer as a machine word; what is beyond it becomes the nearest end.
    std::int64_t integer() const;
    // A number of either kind.
    double number() const;
};

// As physedge_runtime/json_text.py has it.
inline constexpr std::size_t most_json_values = 100'000;

// Read one JSON text. Throws JsonError for whatever Python's json module refuses, and beyond 64 levels, 64 bits of an
// integer, or so many values.
Json parse_json(std::string_view data, std::size_t most_values = most_json_values);

// Sorted keys, no spaces, UTF-8, floats as Python writes them, one final line end.
std::string canonical_json(const Json& value);

// A double as Python's repr writes it.
std::string python_float(double value);

}  // namespace physedge
