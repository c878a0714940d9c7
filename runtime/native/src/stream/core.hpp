// The core of a stream: which frame next, what may be shown, what is said; as physedge_runtime/stream/core.py has it.
//
// Pictures leave in the order of their numbers, each at most once. Under PHYSEDGE_DROP_LATEST a picture goes out with
// its answer, when that comes in time; at once and without one, where it is not fit to be answered, or while the frame
// in work is overdue.
#pragma once

#include <cstdint>
#include <optional>

#include "physedge.h"
#include "stream/events.hpp"
#include "stream/health.hpp"
#include "stream/safety.hpp"
#include "stream/steadiness.hpp"

namespace physedge {

// Counts who still needs a frame of the caller; the last one who lets go gives it back.
class FramePool {
public:
    FramePool(void (*release)(void*, void*), void* context) : release_(release), context_(context) {}

    int take_in(void* user);
    void* user(int place) const { return places_[place].user; }
    void hold(int place) { ++places_[place].holders; }
    void let_go(int place);

private:
    static constexpr int most_places = 96;  // the queue, the frame in work, the items, and the one on its way
    struct Place {
        void* user = nullptr;
        int holders = 0;
    };
    Place places_[most_places];
    void (*release_)(void*, void*);
    void* context_;
};

// Watches a source's own stamps against the capture stamps.
class SourceClock {
public:
    std::int64_t lag_ns = 0;

    // Whether the source's clock jumped; then `forward_ms` says by how much.
    bool check(std::int64_t source_stamp_ns, std::int64_t captured_ns, double& forward_ms);

private:
    std::optional<std::int64_t> offset_ns_;
    std::int64_t least_offset_ns_ = 0;
};

}  // namespace physedge

struct physedge_stream {
public:
    explicit physedge_stream(const physedge_stream_options& options);
    ~physedge_stream();
    physedge_stream(const physedge_stream&) = delete;
    physedge_stream& operator=(const physedge_stream&) = delete;

    bool has_room() const;
    bool is_idle() const { return waiting_.is_empty() && !in_work_; }
    bool is_working() const { return in_work_.has_value(); }
    std::int64_t source_lag_ns() const { return source_clock_.lag_ns; }
    const char* safe_reason() const { return safety_.safe_reason; }

    void frame(const physedge_stream_frame& frame, const physedge_look& look, std::int64_t now_ns);
    bool take(std::int64_t now_ns, physedge_stream_frame& frame);
    void answered(const physedge_answer& answer, std::int64_t now_ns);
    void lost(const char* reason, std::int64_t now_ns);
    void tick(std::int64_t now_ns);
    void fail(const char* reason, std::int64_t now_ns);
    void note(physedge_event_kind kind, const char* text, std::int64_t now_ns) { log_.say(now_ns, kind, text); }
    bool next_item(physedge_stream_item& item);
    bool next_event(physedge_stream_event& event) { return log_.next(event); }

private:
    static constexpr std::size_t most_items = 64;

    // A frame that waits or is in work, with the health of the picture at its arrival.
    struct Held {
        physedge_stream_frame frame;
        int place;
        bool answerable;
        physedge_signal signal;
        physedge::Reason reason;
        bool is_out;
    };
    struct Item {
        physedge_stream_item item;
        int place;
    };

    physedge_stream_options options_;
    physedge::Health health_;
    physedge::Safety safety_;
    physedge::FramePool pool_;
    physedge::Ring<Held, 8> waiting_;
    physedge::SourceClock source_clock_;
    physedge::AreaWatch area_;
    physedge_drops drops_{};
    std::optional<std::uint64_t> last_id_, last_passed_id_;
    std::int64_t last_captured_ns_ = 0;
    std::optional<Held> in_work_;
    std::int64_t taken_ns_ = 0, looked_ns_ = 0;
    std::optional<std::int64_t> waits_since_ns_;  // capture of the first frame that the engine did not come for
    std::optional<std::int64_t> shown_captured_ns_;
    physedge_signal said_signal_ = PHYSEDGE_RECOVERING;
    bool said_safe_ = false;
    int old_in_a_row_ = 0;
    physedge::Ring<Item, most_items> out_;
    int current_place_ = -1;  // of the item that the caller looks at
    physedge::EventLog log_;

    bool is_queue() const { return options_.drop != PHYSEDGE_DROP_LATEST; }
    std::size_t capacity() const;
    void number(physedge_stream_frame& frame, std::int64_t now_ns);
    void put(const Held& held);
    void clear_waiting();
    bool is_overdue(std::int64_t now_ns) const;
    void pass_overdue(std::int64_t now_ns);
    void pass_starved(std::int64_t now_ns);
    void pass_without(Held& held, std::int64_t now_ns);
    // `answer` is nullptr where there is none.
    void pass(Held& held, std::int64_t now_ns, const physedge_answer* answer, const physedge::Verdict& verdict,
              std::optional<double> area_change = std::nullopt);
    void put_trust(physedge_stream_item& item, const physedge_answer& answer, std::optional<double> area_change) const;
    void notice(std::int64_t now_ns, physedge_withdrawal withdrawn, const char* text);
    Item& new_item(std::int64_t now_ns);
    void say_signal(std::int64_t now_ns, bool with_notice);
    void say_safe(std::int64_t now_ns);
    void notice_always_old(physedge_withdrawal withdrawn, std::int64_t now_ns);
    void signal_text(physedge_signal signal, const char* reason, char (&text)[560]) const;
};
