// What may stand in a graph, decided before an engine's parser sees it: a walk over the protobuf's own bytes.
#pragma once

#include <string>
#include <string_view>

namespace physedge {

// Throws Refusal, PE-BUNDLE-030 to 035. `origin` is the graph's name, for messages.
void check_graph(std::string_view graph, const std::string& origin);

}  // namespace physedge
