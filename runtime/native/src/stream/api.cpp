// The border of the stream core, and the names of its states.
#include <memory>

#include "refusal.hpp"
#include "stream/core.hpp"
#include "stream/time.hpp"

using namespace physedge;

namespace {

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

physedge_status physedge_stream_create(const physedge_stream_options* options, physedge_stream** stream, physedge_error* error) {
    if (options == nullptr || stream == nullptr) return missing(error);
    return guarded(error, [&] { *stream = std::make_unique<physedge_stream>(*options).release(); });
}

void physedge_stream_free(physedge_stream* stream) { delete stream; }

int physedge_stream_has_room(const physedge_stream* stream) { return stream->has_room(); }

int physedge_stream_is_idle(const physedge_stream* stream) { return stream->is_idle(); }

const char* physedge_stream_safe_reason(const physedge_stream* stream) { return stream->safe_reason(); }

int64_t physedge_stream_source_lag_ns(const physedge_stream* stream) { return stream->source_lag_ns(); }

physedge_status physedge_stream_frame_in(physedge_stream* stream, const physedge_stream_frame* frame, const physedge_look* look,
                                         int64_t now_ns, physedge_error* error) {
    if (stream == nullptr || frame == nullptr || look == nullptr) return missing(error);
    if (!stream->has_room())
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-006", "no room for a frame that may not be dropped",
                      "a call of physedge_stream_has_room before", "hand it in when there is room");
    stream->frame(*frame, *look, now_ns);
    return PHYSEDGE_OK;
}

int physedge_stream_take(physedge_stream* stream, int64_t now_ns, physedge_stream_frame* frame) {
    return !stream->is_working() && stream->take(now_ns, *frame);
}

physedge_status physedge_stream_answered(physedge_stream* stream, const physedge_answer* answer, int64_t now_ns, physedge_error* error) {
    if (stream == nullptr || answer == nullptr) return missing(error);
    if (!stream->is_working())
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-006", "an answer though no frame was taken", "physedge_stream_take before",
                      "correct the order of the calls");
    stream->answered(*answer, now_ns);
    return PHYSEDGE_OK;
}

void physedge_stream_tick(physedge_stream* stream, int64_t now_ns) { stream->tick(now_ns); }

void physedge_stream_lost(physedge_stream* stream, const char* reason, int64_t now_ns) {
    stream->lost(reason != nullptr ? reason : "", now_ns);
}

void physedge_stream_fail(physedge_stream* stream, const char* reason, int64_t now_ns) {
    stream->fail(reason != nullptr && reason[0] != '\0' ? reason : "the caller gave up", now_ns);
}

void physedge_stream_note(physedge_stream* stream, physedge_event_kind kind, const char* text, int64_t now_ns) {
    if (kind >= PHYSEDGE_EVENT_STARTED && kind <= PHYSEDGE_EVENT_ENDED) stream->note(kind, text != nullptr ? text : "", now_ns);
}

int physedge_stream_next_item(physedge_stream* stream, physedge_stream_item* item) { return stream->next_item(*item); }

int physedge_stream_next_event(physedge_stream* stream, physedge_stream_event* event) { return stream->next_event(*event); }

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
