#include "stream/core.hpp"

#include <cstdio>
#include <cstdlib>

#include "stream/time.hpp"
#include "text.hpp"

using namespace physedge;

namespace {

constexpr std::size_t queue_capacity = 8, read_ahead = 2;
constexpr int all_old_after = 10;
constexpr std::int64_t jump_ns = ns_per_s, stood_still_ns = ns_per_s;

}  // namespace

namespace physedge {

int FramePool::take_in(void* user) {
    for (int place = 0; place < most_places; ++place)
        if (places_[place].holders == 0) {
            places_[place] = {user, 1};
            return place;
        }
    std::abort();  // more holders than there are: a bug of this file
}

void FramePool::let_go(int place) {
    if (--places_[place].holders == 0 && release_ != nullptr) release_(context_, places_[place].user);
}

bool SourceClock::check(std::int64_t source_stamp_ns, std::int64_t captured_ns, double& forward_ms) {
    std::int64_t offset_ns = elapsed_ns(source_stamp_ns, captured_ns);
    std::optional<std::int64_t> last_ns = offset_ns_;
    offset_ns_ = offset_ns;
    if (!last_ns) {
        least_offset_ns_ = offset_ns;
        return false;
    }
    std::int64_t backward_ns = elapsed_ns(*last_ns, offset_ns);
    if (backward_ns > jump_ns || backward_ns < -jump_ns) {
        least_offset_ns_ = offset_ns;
        lag_ns = 0;
        forward_ms = ms_from_ns(elapsed_ns(offset_ns, *last_ns));
        return true;
    }
    least_offset_ns_ = offset_ns < least_offset_ns_ ? offset_ns : least_offset_ns_;
    lag_ns = elapsed_ns(least_offset_ns_, offset_ns);
    return false;
}

}  // namespace physedge

physedge_stream::physedge_stream(const physedge_stream_options& options)
    : options_(options), health_(options), safety_(options), pool_(options.release, options.release_context) {}

physedge_stream::~physedge_stream() {
    if (current_place_ >= 0) pool_.let_go(current_place_);
    for (; !out_.is_empty(); out_.pop())
        if (out_.front().place >= 0) pool_.let_go(out_.front().place);
    for (; !waiting_.is_empty(); waiting_.pop()) pool_.let_go(waiting_.front().place);
    if (in_work_) pool_.let_go(in_work_->place);
}

std::size_t physedge_stream::capacity() const {
    switch (options_.drop) {
        case PHYSEDGE_DROP_LATEST: return 1;
        case PHYSEDGE_DROP_OLDEST: return queue_capacity;
        case PHYSEDGE_DROP_NEVER: return read_ahead;
    }
    return 1;
}

bool physedge_stream::has_room() const { return options_.drop != PHYSEDGE_DROP_NEVER || waiting_.size() < capacity(); }

void physedge_stream::frame(const physedge_stream_frame& given, const physedge_look& look, std::int64_t now_ns) {
    Held held{given, pool_.take_in(given.user), false, PHYSEDGE_RECOVERING, "", false};
    number(held.frame, now_ns);
    last_captured_ns_ = held.frame.captured_ns;
    double forward_ms = 0;
    // The times of a clip that waits for us say nothing about our clock.
    bool is_checked = options_.frame_clock != 0 && given.has_source_stamp != 0;
    if (is_checked && source_clock_.check(given.source_stamp_ns, held.frame.captured_ns, forward_ms)) {
        char text[160];
        std::snprintf(text, sizeof text, "the source's own clock jumped by %+.0f ms against ours; synchronised anew", forward_ms);
        log_.say(now_ns, PHYSEDGE_EVENT_CLOCK, text);
    }
    health_.frame(now_ns, look, given.frozen_by_operator != 0);
    say_signal(now_ns, false);
    held.answerable = health_.answerable();
    held.signal = health_.signal;
    copy_text(held.reason, health_.reason);
    if (is_queue() || !(safety_.is_safe_state() || !held.answerable || is_overdue(now_ns))) {
        pass_starved(now_ns);
        if (!waits_since_ns_) waits_since_ns_ = held.frame.captured_ns;
        put(held);
    } else {
        clear_waiting();
        waits_since_ns_.reset();
        pass_without(held, now_ns);
        pool_.let_go(held.place);
    }
}

bool physedge_stream::take(std::int64_t now_ns, physedge_stream_frame& frame) {
    while (!waiting_.is_empty()) {
        Held held = waiting_.front();
        waiting_.pop();
        if (held.answerable && !safety_.is_safe_state()) {
            in_work_ = held;
            taken_ns_ = looked_ns_ = now_ns;
            waits_since_ns_.reset();
            frame = held.frame;
            return true;
        }
        pass_without(held, now_ns);
        pool_.let_go(held.place);
    }
    return false;
}

void physedge_stream::answered(const physedge_answer& answer, std::int64_t now_ns) {
    Held held = *in_work_;
    in_work_.reset();
    Verdict verdict = safety_.judge(answer, held.frame.frame_id, elapsed_ns(held.frame.captured_ns, now_ns));
    if (answer.fault != nullptr) log_.say(now_ns, PHYSEDGE_EVENT_ENGINE, verdict.text);
    if (verdict.withdrawn == PHYSEDGE_SHOWN && !is_queue() && !health_.answerable()) {
        verdict.withdrawn = PHYSEDGE_WITHDRAWN_SIGNAL;
        signal_text(health_.signal, health_.reason, verdict.text);
    }
    if (verdict.withdrawn == PHYSEDGE_SHOWN && safety_.is_safe_state()) {
        verdict.withdrawn = PHYSEDGE_WITHDRAWN_SAFE_STATE;
        copy_text(verdict.text, safety_.safe_reason);
    }
    std::optional<double> area_change;
    if (options_.area_limit >= 0 && verdict.withdrawn == PHYSEDGE_SHOWN) area_change = area_.judge(answer, held.frame.captured_ns);
    notice_always_old(verdict.withdrawn, now_ns);
    say_safe(now_ns);
    pass(held, now_ns, answer.fault == nullptr ? &answer : nullptr, verdict, area_change);
    pool_.let_go(held.place);
}

void physedge_stream::lost(const char* reason, std::int64_t now_ns) {
    health_.lost(reason);
    say_signal(now_ns, true);
}

void physedge_stream::tick(std::int64_t now_ns) {
    health_.tick(now_ns);
    say_signal(now_ns, true);
    if (in_work_) {
        // A tick that comes more than a second late counts a second: then the whole process stood still, the engine too.
        std::int64_t since_ns = elapsed_ns(looked_ns_, now_ns);
        if (since_ns > stood_still_ns) taken_ns_ = elapsed_ns(stood_still_ns - since_ns, taken_ns_);
        looked_ns_ = now_ns;
        safety_.watch_engine(elapsed_ns(taken_ns_, now_ns));
    }
    say_safe(now_ns);
    pass_overdue(now_ns);
    if (!shown_captured_ns_) return;
    std::int64_t age_ns = elapsed_ns(*shown_captured_ns_, now_ns);
    if (!safety_.is_too_old(age_ns)) return;
    char text[96];
    std::snprintf(text, sizeof text, "the answer on show is %.0f ms old", ms_from_ns(age_ns));
    notice(now_ns, PHYSEDGE_WITHDRAWN_OLD, text);
}

void physedge_stream::fail(const char* reason, std::int64_t now_ns) {
    safety_.fail(reason);
    say_safe(now_ns);
}

bool physedge_stream::next_item(physedge_stream_item& item) {
    if (current_place_ >= 0) pool_.let_go(current_place_);
    current_place_ = -1;
    if (out_.is_empty()) return false;
    item = out_.front().item;
    current_place_ = out_.front().place;
    out_.pop();
    return true;
}

void physedge_stream::number(physedge_stream_frame& frame, std::int64_t now_ns) {
    std::uint64_t expected = last_id_ ? *last_id_ + 1 : frame.frame_id;
    if (frame.frame_id < expected)
        frame.frame_id = expected;
    else
        drops_.source_gap += frame.frame_id - expected;
    if (frame.captured_ns > now_ns) {
        char text[96];
        std::snprintf(text, sizeof text, "a capture stamp lies %.0f ms ahead; taken as now", ms_from_ns(elapsed_ns(now_ns, frame.captured_ns)));
        log_.say(now_ns, PHYSEDGE_EVENT_CLOCK, text);
        frame.captured_ns = now_ns;
    }
    last_id_ = frame.frame_id;
}

void physedge_stream::put(const Held& held) {
    if (waiting_.size() >= capacity()) {
        if (options_.drop == PHYSEDGE_DROP_OLDEST) {
            ++drops_.queue_full;
            pool_.let_go(held.place);
            return;
        }
        clear_waiting();
    }
    waiting_.push() = held;
}

void physedge_stream::clear_waiting() {
    for (; !waiting_.is_empty(); waiting_.pop()) {
        ++drops_.superseded;
        pool_.let_go(waiting_.front().place);
    }
}

bool physedge_stream::is_overdue(std::int64_t now_ns) const {
    return in_work_ && safety_.is_overdue(elapsed_ns(in_work_->frame.captured_ns, now_ns));
}

void physedge_stream::pass_overdue(std::int64_t now_ns) {
    if (is_queue() || !is_overdue(now_ns)) return;
    auto is_newer = [&](const Held& held) { return !last_passed_id_ || held.frame.frame_id > *last_passed_id_; };
    if (waiting_.is_empty()) {
        if (is_newer(*in_work_)) pass_without(*in_work_, now_ns);
        return;
    }
    Held held = waiting_.front();
    waiting_.pop();
    if (is_newer(held)) pass_without(held, now_ns);
    pool_.let_go(held.place);
}

void physedge_stream::pass_starved(std::int64_t now_ns) {
    if (is_queue() || in_work_ || !waits_since_ns_ || waiting_.is_empty()) return;
    if (!safety_.is_overdue(elapsed_ns(*waits_since_ns_, now_ns))) return;
    Held held = waiting_.front();
    waiting_.pop();
    pass_without(held, now_ns);
    pool_.let_go(held.place);
}

void physedge_stream::pass_without(Held& held, std::int64_t now_ns) {
    Verdict verdict;
    if (safety_.is_safe_state()) {
        verdict.withdrawn = PHYSEDGE_WITHDRAWN_SAFE_STATE;
        copy_text(verdict.text, safety_.safe_reason);
    } else if (!held.answerable) {
        verdict.withdrawn = PHYSEDGE_WITHDRAWN_SIGNAL;
        signal_text(held.signal, held.reason, verdict.text);
    } else {
        verdict.withdrawn = PHYSEDGE_WITHDRAWN_LATE;
        copy_text(verdict.text, in_work_ ? "the engine is still busy with an earlier picture" : "the engine is still busy with other streams");
    }
    pass(held, now_ns, nullptr, verdict);
}

void physedge_stream::pass(Held& held, std::int64_t now_ns, const physedge_answer* answer, const Verdict& verdict,
                           std::optional<double> area_change) {
    const physedge_stream_frame& frame = held.frame;
    if (last_passed_id_ && frame.frame_id <= *last_passed_id_) {
        drops_.overtaken += !held.is_out;
        return;
    }
    last_passed_id_ = frame.frame_id;
    held.is_out = true;
    bool is_shown = answer != nullptr && verdict.withdrawn == PHYSEDGE_SHOWN;
    shown_captured_ns_.reset();
    if (is_shown) shown_captured_ns_ = frame.captured_ns;
    Item& out = new_item(now_ns);
    out.place = held.place;
    pool_.hold(held.place);
    out.item.has_frame = 1;
    out.item.user = frame.user;
    out.item.frame_id = frame.frame_id;
    out.item.answered = is_shown;
    out.item.signal = is_queue() ? held.signal : health_.signal;
    copy_text(out.item.reason, is_queue() ? held.reason : health_.reason);
    out.item.withdrawn = verdict.withdrawn;
    copy_text(out.item.withdrawn_text, verdict.text);
    out.item.captured_ns = frame.captured_ns;
    if (answer != nullptr) put_trust(out.item, *answer, area_change);
}

void physedge_stream::put_trust(physedge_stream_item& item, const physedge_answer& answer, std::optional<double> area_change) const {
    item.has_trust = 1;
    item.trust = answer.trust;
    const char* reason = answer.trust_reason != nullptr ? answer.trust_reason : "";
    copy_text(item.trust_reason, reason);
    if (!area_change) return;
    item.area_change = *area_change;
    if (*area_change <= options_.area_limit) return;
    if (item.trust == PHYSEDGE_TRUST_OK) item.trust = PHYSEDGE_TRUST_DOUBTFUL;
    std::snprintf(item.trust_reason, sizeof item.trust_reason, "%.511s%sthe area left its running median (area %.3g above %.3g)",
                  reason, reason[0] != '\0' ? "; " : "", *area_change, options_.area_limit);
}

void physedge_stream::notice(std::int64_t now_ns, physedge_withdrawal withdrawn, const char* text) {
    shown_captured_ns_.reset();
    Item& out = new_item(now_ns);
    out.place = -1;
    out.item.has_frame = 0;
    out.item.user = nullptr;
    out.item.frame_id = 0;
    out.item.answered = 0;
    out.item.signal = health_.signal;
    copy_text(out.item.reason, health_.reason);
    out.item.withdrawn = withdrawn;
    copy_text(out.item.withdrawn_text, text);
    out.item.captured_ns = last_captured_ns_;
}

physedge_stream::Item& physedge_stream::new_item(std::int64_t now_ns) {
    if (out_.is_full()) {  // nobody drains: what would be shown is not known any more
        if (out_.front().place >= 0) pool_.let_go(out_.front().place);
        safety_.fail("what leaves the stream is not taken");
    }
    Item& out = out_.push();
    out.item.at_ns = now_ns;
    out.item.drops = drops_;
    out.item.has_trust = 0;
    out.item.trust = PHYSEDGE_TRUST_OK;
    out.item.trust_reason[0] = '\0';
    out.item.area_change = -1;
    return out;
}

void physedge_stream::signal_text(physedge_signal signal, const char* reason, char (&text)[560]) const {
    if (reason[0] != '\0')
        std::snprintf(text, sizeof text, "%s: %s", physedge_signal_name(signal), reason);
    else
        copy_text(text, "this picture is black or white");
}

void physedge_stream::say_signal(std::int64_t now_ns, bool with_notice) {
    if (health_.signal == said_signal_) return;
    char text[560];
    std::snprintf(text, sizeof text, "the signal went from %s to %s%s%s", physedge_signal_name(said_signal_),
                  physedge_signal_name(health_.signal), health_.reason[0] != '\0' ? ": " : "", health_.reason);
    said_signal_ = health_.signal;
    log_.say(now_ns, PHYSEDGE_EVENT_SIGNAL, text);
    if (!with_notice || health_.signal == PHYSEDGE_LIVE) return;
    signal_text(health_.signal, health_.reason, text);
    notice(now_ns, PHYSEDGE_WITHDRAWN_SIGNAL, text);
}

void physedge_stream::say_safe(std::int64_t now_ns) {
    if (!safety_.is_safe_state() || said_safe_) return;
    said_safe_ = true;
    char text[560];
    std::snprintf(text, sizeof text, "no more answers: %s", safety_.safe_reason);
    log_.say(now_ns, PHYSEDGE_EVENT_SAFE_STATE, text);
    notice(now_ns, PHYSEDGE_WITHDRAWN_SAFE_STATE, safety_.safe_reason);
}

void physedge_stream::notice_always_old(physedge_withdrawal withdrawn, std::int64_t now_ns) {
    if (withdrawn != PHYSEDGE_WITHDRAWN_OLD) {
        old_in_a_row_ = 0;
        return;
    }
    if (++old_in_a_row_ != all_old_after) return;
    char text[560];
    std::snprintf(text, sizeof text,
                  "%d answers in a row were too old to be shown: a faster engine, a smaller network or a larger --max-age-ms is needed",
                  all_old_after);
    log_.say(now_ns, PHYSEDGE_EVENT_ANSWERS, text);
}
