// Whether a node has the inputs, outputs and attributes that the standard gives its operator.
#pragma once

#include <cstdint>

#include "graph_wire.hpp"

namespace physedge {

// `node` is one whose operator is on the list. Throws NotAllowed, PE-BUNDLE-037.
void check_node(const Message& node, std::int64_t opset);

}  // namespace physedge
