// What a graph takes in and gives out, held against its manifest; as physedge_runtime/graph_interface.py has it.
#pragma once

#include <string>
#include <string_view>

#include "manifest.hpp"

namespace physedge {

// Throws Refusal, PE-BUNDLE-038. `check_graph` has passed the graph; `origin` is its name, for messages.
void check_interface(std::string_view graph, const Manifest& manifest, const std::string& origin);

}  // namespace physedge
