#include "stream/safety.hpp"

#include <cstdarg>
#include <cstdio>

#include "stream/time.hpp"
#include "text.hpp"

namespace physedge {

namespace {

__attribute__((format(printf, 2, 3))) Verdict withdrawn(physedge_withdrawal why, const char* format, ...) {
    Verdict verdict;
    verdict.withdrawn = why;
    va_list values;
    va_start(values, format);
    std::vsnprintf(verdict.text, sizeof verdict.text, format, values);
    va_end(values);
    return verdict;
}

}  // namespace

Verdict Safety::judge(const physedge_answer& answer, std::uint64_t frame_id, std::int64_t age_ns) {
    if (answer.fault != nullptr) {
        count_error(answer);
        return withdrawn(PHYSEDGE_WITHDRAWN_ENGINE, "the engine failed: %s", answer.fault);
    }
    errors_ = 0;
    if (answer.frame_id != frame_id)
        return withdrawn(PHYSEDGE_WITHDRAWN_OTHER_FRAME, "the answer is of frame %llu", static_cast<unsigned long long>(answer.frame_id));
    if (answer.finite == 0) {
        if (++not_finite_ >= limits_.not_finite) {
            Reason reason;
            std::snprintf(reason, sizeof reason, "%llu answers in a row hold values that are no numbers", static_cast<unsigned long long>(not_finite_));
            fail(reason);
        }
        return withdrawn(PHYSEDGE_WITHDRAWN_NOT_FINITE, "the answer holds values that are no numbers");
    }
    not_finite_ = 0;
    if (limits_.deadline_ns >= 0 && age_ns > limits_.deadline_ns) {
        miss();
        return withdrawn(PHYSEDGE_WITHDRAWN_LATE, "the answer took %.0f ms", ms_from_ns(age_ns));
    }
    misses_ = 0;
    if (answer.trust == PHYSEDGE_TRUST_VOID) {
        bool has_reason = answer.trust_reason != nullptr && answer.trust_reason[0] != '\0';
        return withdrawn(PHYSEDGE_WITHDRAWN_VOID, "not to be trusted: %s", has_reason ? answer.trust_reason : "void");
    }
    if (is_too_old(age_ns)) return withdrawn(PHYSEDGE_WITHDRAWN_OLD, "the answer is %.0f ms old", ms_from_ns(age_ns));
    return {};
}

bool Safety::is_overdue(std::int64_t age_ns) const {
    return (limits_.deadline_ns >= 0 && age_ns > limits_.deadline_ns) || is_too_old(age_ns);
}

void Safety::watch_engine(std::int64_t busy_ns) {
    if (busy_ns <= limits_.hang_ns) return;
    Reason reason;
    std::snprintf(reason, sizeof reason, "the engine has not come back for %.0f ms", ms_from_ns(busy_ns));
    fail(reason);
}

void Safety::fail(const char* reason) {
    if (!is_safe_state()) copy_text(safe_reason, reason);
}

void Safety::miss() {
    if (++misses_ < limits_.deadline_misses) return;
    Reason reason;
    std::snprintf(reason, sizeof reason, "the deadline was missed %llu times in a row", static_cast<unsigned long long>(misses_));
    fail(reason);
}

void Safety::count_error(const physedge_answer& answer) {
    ++errors_;
    if (answer.out_of_memory != 0) return fail("out of memory");
    if (errors_ < limits_.engine_errors) return;
    Reason reason;
    std::snprintf(reason, sizeof reason, "the engine failed %llu times in a row: %s", static_cast<unsigned long long>(errors_), answer.fault);
    fail(reason);
}

}  // namespace physedge
