#include "refusal.hpp"

#include <cstdio>
#include <exception>
#include <new>
#include <utility>

#include "text.hpp"

namespace physedge {

void refuse(physedge_status status, const char* identifier, std::string found, std::string expected,
            std::string next_step) {
    throw Refusal{status, identifier, std::move(found), std::move(expected), std::move(next_step)};
}

void refuse_bundle(const char* identifier, std::string found, std::string expected) {
    refuse(PHYSEDGE_INTEGRITY, identifier, std::move(found), std::move(expected),
           "copy the bundle again from where it was made");
}

physedge_status report(physedge_error* error, physedge_status status, const char* identifier, const char* found,
                       const char* expected, const char* next_step) noexcept {
    if (error != nullptr) {
        error->status = status;
        copy_text(error->identifier, identifier);
        copy_text(error->found, found);
        copy_text(error->expected, expected);
        copy_text(error->next_step, next_step);
    }
    return status;
}

physedge_status status_of_current_exception(physedge_error* error) noexcept {
    try {
        throw;
    } catch (const Refusal& refusal) {
        return report(error, refusal.status, refusal.identifier.c_str(), refusal.found.c_str(),
                      refusal.expected.c_str(), refusal.next_step.c_str());
    } catch (const std::bad_alloc&) {
        return report(error, PHYSEDGE_ENVIRONMENT, "PE-NATIVE-003", "there is no memory left",
                      "memory for the bundle, the engine and the frames", "close what is open, or use a smaller network");
    } catch (const std::exception& bug) {
        return report(error, PHYSEDGE_BUG, "PE-NATIVE-009", bug.what(), "none of that", "report it with this text");
    } catch (...) {
        return report(error, PHYSEDGE_BUG, "PE-NATIVE-009", "an unknown exception", "none", "report it with this text");
    }
}

}  // namespace physedge

extern "C" {

void physedge_error_sentence(const physedge_error* error, char* text, size_t size) {
    if (error == nullptr || text == nullptr || size == 0) return;
    std::snprintf(text, size, "%s: %s; expected %s; %s.", error->identifier, error->found, error->expected,
                  error->next_step);
}

const char* physedge_status_name(physedge_status status) {
    switch (status) {
        case PHYSEDGE_OK: return "ok";
        case PHYSEDGE_GATE_FAILED: return "gate failed";
        case PHYSEDGE_USAGE: return "usage";
        case PHYSEDGE_ENVIRONMENT: return "environment";
        case PHYSEDGE_INTEGRITY: return "integrity";
        case PHYSEDGE_SAFE_STATE: return "safe state";
        case PHYSEDGE_BUG: return "bug";
    }
    return "unknown";
}

}  // extern "C"
