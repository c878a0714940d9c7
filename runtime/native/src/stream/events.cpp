#include "stream/events.hpp"

#include <cstdio>

#include "stream/time.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::int64_t window_ns = 10 * ns_per_s;
constexpr std::uint32_t lines_per_window = 20;

}  // namespace

void EventLog::put(std::int64_t at_ns, physedge_event_kind kind, const char* text) {
    physedge_stream_event& event = events_.push();
    event.at_ns = at_ns;
    event.kind = kind;
    copy_text(event.text, text);
}

void EventLog::say(std::int64_t at_ns, physedge_event_kind kind, const char* text) {
    Window& window = windows_[kind];
    if (!window.is_open || elapsed_ns(window.start_ns, at_ns) >= window_ns) {
        std::uint64_t left_out = window.left_out;
        window = {true, at_ns, 0, 0};
        if (left_out != 0) {
            char line[80];
            std::snprintf(line, sizeof line, "%llu lines like the last one were left out", static_cast<unsigned long long>(left_out));
            put(at_ns, kind, line);
        }
    }
    if (window.said >= lines_per_window && kind != PHYSEDGE_EVENT_SAFE_STATE) {
        ++window.left_out;
        return;
    }
    ++window.said;
    put(at_ns, kind, text);
}

bool EventLog::next(physedge_stream_event& event) {
    if (events_.is_empty()) return false;
    event = events_.front();
    events_.pop();
    return true;
}

}  // namespace physedge
