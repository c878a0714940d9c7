// Holds a JSON value against a JSON schema, as far as pydantic writes one for the manifest.
#pragma once

#include <string>
#include <string_view>

#include "json.hpp"

namespace physedge {

enum class Fit {
    exact,      // the value is of the declared types
    older,      // it lacks members that have a default, as an older physedge wrote it
    coercible,  // of the right kind, and written otherwise
    wrong       // Python refuses it
};

struct Judgement {
    Fit fit = Fit::exact;
    std::string path;  // of the first part that is wrong
    std::string why;
};

// A schema whose every keyword the judge knows; an unknown one throws std::logic_error, since a check would be left out.
Json understood_schema(std::string_view text);

Judgement judge_by_schema(const Json& value, const Json& schema);

// The value with every member that it lacks and the schema has a default for. It has passed the schema.
Json with_defaults(const Json& value, const Json& schema);

}  // namespace physedge
