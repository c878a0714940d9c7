// Engines that were built on this device, where `physedge export --build` keeps them: DIGEST.engine, and DIGEST.json
// beside it with its key and its hash. The digest is that of the key; engine_cache.py writes what is read here.
//
// An engine is native code: whoever can write into the folder runs code here. So the folder must belong to this user
// and be writable by nobody else, and no link is followed.
#pragma once

#include <string>
#include <vector>

#include "engines/engine_store.hpp"

namespace physedge {

struct Plan {
    std::vector<char> bytes;
    // It was built version-compatible: it carries a runtime, a library for the processor, which runs in this process.
    bool carries_runtime = false;
};

// The engine of the first of these keys that has one; else one that an earlier version of the library built so that later
// ones run it, too. Throws Refusal: PE-TRT-010 (folder), 011 (bytes), 012 (none).
Plan load_plan(const std::string& cache_folder, const std::vector<PlanKey>& keys);

}  // namespace physedge
