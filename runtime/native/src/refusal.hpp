// An error of the world inside the library: thrown, and turned into a physedge_error at the border.
#pragma once

#include <string>

#include "physedge.h"

namespace physedge {

struct Refusal {
    physedge_status status;
    std::string identifier;
    std::string found;
    std::string expected;
    std::string next_step;
};

[[noreturn]] void refuse(physedge_status status, const char* identifier, std::string found, std::string expected,
                         std::string next_step);
// An IntegrityError whose cure is a fresh copy of the file.
[[noreturn]] void refuse_bundle(const char* identifier, std::string found, std::string expected);

// Call `work` and turn whatever it throws into a status; no exception passes.
physedge_status status_of_current_exception(physedge_error* error) noexcept;

template <typename Work>
physedge_status guarded(physedge_error* error, Work&& work) noexcept {
    try {
        work();
        return PHYSEDGE_OK;
    } catch (...) {
        return status_of_current_exception(error);
    }
}

// Fill an error in without an exception and without memory of the heap: what happens while frames run.
physedge_status report(physedge_error* error, physedge_status status, const char* identifier, const char* found,
                       const char* expected, const char* next_step) noexcept;

}  // namespace physedge
