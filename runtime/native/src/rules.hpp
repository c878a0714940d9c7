// Rules between the members of a JSON document, written as data by make_tables.py; as physedge_runtime/rules.py has them.
#pragma once

#include <string>

#include "json.hpp"

namespace physedge {

// The sentence of the first rule that does not hold; "" where all hold. `rules` is a list of [sentence, expression].
// An operator that is unknown throws std::logic_error: a check would be left out.
std::string broken_rule(const Json& rules, const Json& document);

}  // namespace physedge
