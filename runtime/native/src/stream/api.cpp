// The border of the stream core, and the names of its states.
#include <memory>

#include "handle.hpp"
#include "refusal.hpp"
#include "stream/core.hpp"
#include "stream/time.hpp"

using namespace physedge;

namespace {

// Every call on a stream changes it, or reads what another may be changing.
struct Alone : Inside<physedge_stream> {
    explicit Alone(const physedge_stream* handle) noexcept : Inside(handle, Use::alone) {}
};

physedge_status missing(physedge_error* error) {
    return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "NULL for an argument that is needed", "a value", "correct the call");
}

}  // namespace

extern "C" {

physedge_stream_options physedge_stream_defaults(int live) {
    physedge_stream_options options{};
    options.drop = live != 0 ? PHYSEDGE_DROP_LATEST : PHYSEDGE_DROP_NEVER;
    options.frame_clock = live != 0;
    options.stale_periods = 2.5;
    options.lost_periods = 5.0;
    options.stale_floor_ns = 100 * ns_per_ms;
    options.stale_cap_ns = 2000 * ns_per_ms;
    options.lost_floor_ns = 160 * ns_per_ms;
    options.lost_cap_ns = 4000 * ns_per_ms;
    options.first_frame_ns = 5000 * ns_per_ms;
    options.frozen_ns = 150 * ns_per_ms;
    options.unfit_ns = live != 0 ? 100 * ns_per_ms : 0;
    options.frozen_repeats = 3;
    options.good_frames = live != 0 ? 5 : 1;
    options.dark_share = 0.998;
    options.bright_share = 0.9;
    options.max_age_ns = live != 0 ? 300 * ns_per_ms : -1;
    options.deadline_ns = -1;
    options.hang_ns = 5000 * ns_per_ms;
    options.deadline_misses = 10;
    options.engine_errors = 3;
    options.not_finite = 3;
    options.area_limit = live != 0 ? usual_area_limit : -1;
    return options;
}

// Written so that what is no number fails.
static bool is_usable(const physedge_stream_options& options) {
    const double shares[] = {options.dark_share, options.bright_share, options.stale_periods, options.lost_periods};
    for (double share : shares)
        if (!(share >= 0 && share <= 1e9)) return false;
    const std::int64_t times_ns[] = {options.period_ns,    options.stale_floor_ns, options.stale_cap_ns, options.lost_floor_ns,
                                     options.lost_cap_ns,  options.first_frame_ns, options.frozen_ns,    options.unfit_ns,
                                     options.hang_ns};
    for (std::int64_t time_ns : times_ns)
        if (time_ns < 0) return false;
    return options.drop >= PHYSEDGE_DROP_LATEST && options.drop <= PHYSEDGE_DROP_NEVER && options.area_limit <= 1e9;
}

physedge_status physedge_stream_create(const physedge_stream_options* options, physedge_stream** stream, physedge_error* error) {
    if (options == nullptr || stream == nullptr) return missing(error);
    if (!is_usable(*options))
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "an option of the stream that is out of range",
                      "one of the drops, times of 0 and more, shares and periods from 0", "begin with physedge_stream_defaults");
    return guarded(error, [&] { *stream = handed_out(std::make_unique<physedge_stream>(*options)); });
}

void physedge_stream_free(physedge_stream* stream) { give_back(stream); }

int physedge_stream_has_room(const physedge_stream* stream) {
    Alone inside(stream);
    return inside && inside->has_room();
}

int physedge_stream_is_idle(const physedge_stream* stream) {
    Alone inside(stream);
    return !inside || inside->is_idle();
}

const char* physedge_stream_safe_reason(const physedge_stream* stream) {
    Alone inside(stream);
    return inside ? inside->safe_reason() : "there is no such stream, or another thread is using it";
}

int64_t physedge_stream_source_lag_ns(const physedge_stream* stream) {
    Alone inside(stream);
    return inside ? inside->source_lag_ns() : 0;
}

physedge_status physedge_stream_frame_in(physedge_stream* stream, const physedge_stream_frame* frame, const physedge_look* look,
                                         int64_t now_ns, physedge_error* error) {
    if (stream == nullptr || frame == nullptr || look == nullptr) return missing(error);
    Alone inside(stream);
    if (!inside) return inside.refusal(error);
    if (!inside->has_room())
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-006", "no room for a frame that may not be dropped",
                      "a call of physedge_stream_has_room before", "hand it in when there is room");
    inside->frame(*frame, *look, now_ns);
    return PHYSEDGE_OK;
}

int physedge_stream_take(physedge_stream* stream, int64_t now_ns, physedge_stream_frame* frame) {
    if (frame == nullptr) return 0;
    Alone inside(stream);
    return inside && !inside->is_working() && inside->take(now_ns, *frame);
}

physedge_status physedge_stream_answered(physedge_stream* stream, const physedge_answer* answer, int64_t now_ns, physedge_error* error) {
    if (stream == nullptr || answer == nullptr) return missing(error);
    Alone inside(stream);
    if (!inside) return inside.refusal(error);
    if (!inside->is_working())
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-006", "an answer though no frame was taken", "physedge_stream_take before",
                      "correct the order of the calls");
    inside->answered(*answer, now_ns);
    return PHYSEDGE_OK;
}

void physedge_stream_tick(physedge_stream* stream, int64_t now_ns) {
    if (Alone inside(stream); inside) inside->tick(now_ns);
}

void physedge_stream_lost(physedge_stream* stream, const char* reason, int64_t now_ns) {
    if (Alone inside(stream); inside) inside->lost(reason != nullptr ? reason : "", now_ns);
}

void physedge_stream_fail(physedge_stream* stream, const char* reason, int64_t now_ns) {
    if (Alone inside(stream); inside) inside->fail(reason != nullptr && reason[0] != '\0' ? reason : "the caller gave up", now_ns);
}

void physedge_stream_note(physedge_stream* stream, physedge_event_kind kind, const char* text, int64_t now_ns) {
    if (kind < PHYSEDGE_EVENT_STARTED || kind > PHYSEDGE_EVENT_ENDED) return;
    if (Alone inside(stream); inside) inside->note(kind, text != nullptr ? text : "", now_ns);
}

int physedge_stream_next_item(physedge_stream* stream, physedge_stream_item* item) {
    if (item == nullptr) return 0;
    Alone inside(stream);
    return inside && inside->next_item(*item);
}

int physedge_stream_next_event(physedge_stream* stream, physedge_stream_event* event) {
    if (event == nullptr) return 0;
    Alone inside(stream);
    return inside && inside->next_event(*event);
}

const char* physedge_signal_name(physedge_signal signal) {
    static constexpr const char* names[] = {"LIVE", "STALE", "FROZEN", "BLACK", "SATURATED", "LOST", "RECOVERING"};
    return signal >= PHYSEDGE_LIVE && signal <= PHYSEDGE_RECOVERING ? names[signal] : "";
}

const char* physedge_withdrawal_name(physedge_withdrawal withdrawn) {
    static constexpr const char* names[] = {"", "signal", "late", "old", "void", "not_finite", "engine", "other_frame", "safe_state"};
    return withdrawn >= PHYSEDGE_SHOWN && withdrawn <= PHYSEDGE_WITHDRAWN_SAFE_STATE ? names[withdrawn] : "";
}

const char* physedge_trust_name(physedge_trust_state trust) {
    static constexpr const char* names[] = {"ok", "doubtful", "void"};
    return trust >= PHYSEDGE_TRUST_OK && trust <= PHYSEDGE_TRUST_VOID ? names[trust] : "";
}

const char* physedge_event_name(physedge_event_kind kind) {
    static constexpr const char* names[] = {"started", "signal", "reconnect", "format", "damage", "clock",
                                            "engine",  "answers", "sink",     "safe_state", "ended"};
    return kind >= PHYSEDGE_EVENT_STARTED && kind <= PHYSEDGE_EVENT_ENDED ? names[kind] : "";
}

}  // extern "C"
