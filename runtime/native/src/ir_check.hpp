// A graph in OpenVINO's own representation as one entry: a mark, the length of the XML, the XML, the constants.
#pragma once

#include <string>
#include <string_view>

namespace physedge {

struct IrParts {
    std::string_view xml;
    std::string_view weights;
};

bool is_ir(std::string_view graph);

// XML and constants of an entry. Throws Refusal, PE-BUNDLE-030.
IrParts unpack_ir(std::string_view graph, const std::string& origin);

// Refuse a graph that OpenVINO should not be given. Throws Refusal, PE-BUNDLE-030 and 032 to 035.
void check_ir(std::string_view graph, const std::string& origin);

}  // namespace physedge
