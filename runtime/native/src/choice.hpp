// Which engine answers, and which graph of the bundle it is given.
#pragma once

#include <string>

#include "manifest.hpp"

namespace physedge {

// The engine that the export was asked for, where it was compiled in; else the first that ships; else any but the fake.
std::string choose_engine(const Manifest& manifest);

// The graph that ships for an engine, or the one of a precision ("" for what ships). Throws Refusal, PE-ENGINE-003.
const Artefact& choose_artefact(const Manifest& manifest, const std::string& engine, const std::string& precision);

}  // namespace physedge
