// Replays a recording of `physedge run --record-raw` through the native core and names the first difference.
//
//     physedge_replay FILE            (docs/recording.md describes the file)
//
// Prints one JSON object; exit status 0 where every decision and every line of the log is the same, else 4.
#include <physedge.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "json.hpp"

namespace {

using physedge::Json;

constexpr std::uint32_t largest_text_bytes = 1 << 20, largest_pixels_bytes = 1 << 28;

struct Damaged {
    std::string why;
};

const Json& part(const Json& record, const char* name) {
    const Json* found = record.find(name);
    if (found == nullptr) throw Damaged{std::string("no ") + name};
    return *found;
}

std::int64_t integer(const Json& record, const char* name) { return part(record, name).integer(); }
bool is_null(const Json& record, const char* name) { return part(record, name).is(Json::Kind::null); }
std::int64_t or_none(const Json& record, const char* name) { return is_null(record, name) ? -1 : integer(record, name); }

int place_of(const std::string& text, const char* (*name)(int), int count) {
    for (int index = 0; index < count; ++index)
        if (text == name(index)) return index;
    throw Damaged{"the word " + text};
}

// Of the mask: its foreground, and the whole of it.
std::int64_t point_count(const Json& record, std::size_t index) {
    const std::vector<Json>& counts = part(record, "mask").items;
    if (counts.size() != 2) throw Damaged{"a mask without two counts"};
    return counts[index].integer();
}

const char* event_name(int kind) { return physedge_event_name(static_cast<physedge_event_kind>(kind)); }
const char* trust_name(int state) { return physedge_trust_name(static_cast<physedge_trust_state>(state)); }

physedge_stream_options options_from(const Json& record) {
    physedge_stream_options options = physedge_stream_defaults(1);
    const std::string& policy = part(record, "policy").text;
    options.drop = policy == "latest" ? PHYSEDGE_DROP_LATEST : policy == "oldest" ? PHYSEDGE_DROP_OLDEST : PHYSEDGE_DROP_NEVER;
    const Json& health = part(record, "health");
    options.frame_clock = part(health, "frame_clock").boolean;
    options.stale_periods = part(health, "stale_periods").number();
    options.lost_periods = part(health, "lost_periods").number();
    options.stale_floor_ns = integer(health, "stale_floor_ns");
    options.stale_cap_ns = integer(health, "stale_cap_ns");
    options.lost_floor_ns = integer(health, "lost_floor_ns");
    options.lost_cap_ns = integer(health, "lost_cap_ns");
    options.first_frame_ns = integer(health, "first_frame_ns");
    options.frozen_ns = integer(health, "frozen_ns");
    options.frozen_repeats = static_cast<std::uint32_t>(integer(health, "frozen_repeats"));
    options.unfit_ns = integer(health, "unfit_ns");
    options.dark_share = part(health, "dark_share").number();
    options.bright_share = part(health, "bright_share").number();
    options.good_frames = static_cast<std::uint32_t>(integer(health, "good_frames"));
    const Json& safety = part(record, "safety");
    options.max_age_ns = or_none(safety, "max_age_ns");
    options.deadline_ns = or_none(safety, "deadline_ns");
    options.hang_ns = integer(safety, "hang_ns");
    options.deadline_misses = static_cast<std::uint32_t>(integer(safety, "deadline_misses"));
    options.engine_errors = static_cast<std::uint32_t>(integer(safety, "engine_errors"));
    options.not_finite = static_cast<std::uint32_t>(integer(safety, "not_finite"));
    options.area_limit = is_null(record, "area_limit") ? -1 : part(record, "area_limit").number();
    options.period_ns = is_null(record, "period_ns") ? 0 : integer(record, "period_ns");
    return options;
}

class Replay {
public:
    std::uint64_t frames = 0, decisions = 0, streams = 0;
    std::string difference;

    ~Replay() { physedge_stream_free(stream_); }

    void follow(const Json& record, const std::string& pixels) {
        const std::string& call = part(record, "call").text;
        if (call == "begin") return begin(record);
        if (stream_ == nullptr) throw Damaged{"no beginning"};
        if (call == "drain") return drain(record);
        std::int64_t now_ns = integer(record, "now_ns");
        physedge_error error{};
        if (call == "frame") {
            ++frames;
            if (frame(record, pixels, now_ns, error) != PHYSEDGE_OK) throw Damaged{error.found};
        } else if (call == "take") {
            physedge_stream_frame taken{};
            bool is_taken = physedge_stream_take(stream_, now_ns, &taken) != 0;
            std::string was = is_null(record, "taken") ? "none" : part(record, "taken").text;
            compare("the frame taken", was, is_taken ? std::to_string(taken.frame_id) : "none");
        } else if (call == "answered") {
            if (answered(record, now_ns, error) != PHYSEDGE_OK) throw Damaged{error.found};
        } else if (call == "tick") {
            physedge_stream_tick(stream_, now_ns);
        } else if (call == "lost") {
            physedge_stream_lost(stream_, part(record, "reason").text.c_str(), now_ns);
        } else if (call == "fail") {
            physedge_stream_fail(stream_, part(record, "reason").text.c_str(), now_ns);
        } else if (call == "note") {
            auto kind = static_cast<physedge_event_kind>(place_of(part(record, "kind").text, event_name, PHYSEDGE_EVENT_ENDED + 1));
            physedge_stream_note(stream_, kind, part(record, "text").text.c_str(), now_ns);
        } else {
            throw Damaged{"the call " + call};
        }
    }

private:
    physedge_stream* stream_ = nullptr;

    void begin(const Json& record) {
        physedge_stream_free(stream_);
        stream_ = nullptr;
        ++streams;
        physedge_stream_options options = options_from(record);
        physedge_error error{};
        if (physedge_stream_create(&options, &stream_, &error) != PHYSEDGE_OK) throw Damaged{error.found};
    }

    physedge_status frame(const Json& record, const std::string& pixels, std::int64_t now_ns, physedge_error& error) {
        const std::vector<Json>& shape = part(record, "shape").items;
        physedge_frame picture{};
        std::vector<float> voltages;
        if (part(record, "dtype").text == "<f4") {
            voltages.resize(pixels.size() / sizeof(float));
            std::memcpy(voltages.data(), pixels.data(), voltages.size() * sizeof(float));
            picture.format = PHYSEDGE_VOLTAGES;
            picture.voltages = voltages.data();
            picture.voltage_count = voltages.size();
        } else {
            const std::string& colour = part(record, "colour").text;
            bool is_plane = shape.size() == 2 || (shape.size() == 3 && shape[2].integer() == 1);
            picture.format = is_plane ? PHYSEDGE_GREY : colour == "bgr" ? PHYSEDGE_BGR : PHYSEDGE_RGB;
            if (shape.size() < 2) throw Damaged{"a picture without sides"};
            picture.height_px = static_cast<std::uint32_t>(shape[0].integer());
            picture.width_px = static_cast<std::uint32_t>(shape[1].integer());
            picture.pixels = reinterpret_cast<const std::uint8_t*>(pixels.data());
            std::uint64_t wanted = static_cast<std::uint64_t>(picture.height_px) * picture.width_px * (is_plane ? 1 : 3);
            if (wanted != pixels.size()) throw Damaged{"a picture of another size"};
        }
        physedge_look look{};
        physedge_status status = physedge_look_at(&picture, &look, &error);
        if (status != PHYSEDGE_OK) return status;
        physedge_stream_frame given{};
        given.frame_id = static_cast<std::uint64_t>(integer(record, "frame_id"));
        given.captured_ns = integer(record, "captured_ns");
        given.has_source_stamp = !is_null(record, "source_stamp_ns");
        given.source_stamp_ns = given.has_source_stamp ? integer(record, "source_stamp_ns") : 0;
        given.frozen_by_operator = part(record, "frozen_by_operator").boolean;
        return physedge_stream_frame_in(stream_, &given, &look, now_ns, &error);
    }

    physedge_status answered(const Json& record, std::int64_t now_ns, physedge_error& error) {
        physedge_answer answer{};
        if (!is_null(record, "fault")) {
            answer.fault = part(record, "fault").text.c_str();
            answer.out_of_memory = part(record, "out_of_memory").boolean;
        } else {
            answer.frame_id = static_cast<std::uint64_t>(integer(record, "frame_id"));
            answer.finite = part(record, "finite").boolean;
            answer.trust = static_cast<physedge_trust_state>(place_of(part(record, "trust").text, trust_name, PHYSEDGE_TRUST_VOID + 1));
            answer.trust_reason = part(record, "trust_reason").text.c_str();
            if (!is_null(record, "mask")) {
                answer.foreground_points = static_cast<std::uint64_t>(point_count(record, 0));
                answer.mask_points = static_cast<std::uint64_t>(point_count(record, 1));
            }
        }
        return physedge_stream_answered(stream_, &answer, now_ns, &error);
    }

    void drain(const Json& record) {
        physedge_stream_item item;
        std::size_t count = 0;
        const std::vector<Json>& out = part(record, "out").items;
        for (; physedge_stream_next_item(stream_, &item) != 0; ++count)
            if (count < out.size()) compare_item(out[count], item);
        compare("the number of decisions at once", std::to_string(out.size()), std::to_string(count));
        physedge_stream_event event;
        count = 0;
        const std::vector<Json>& events = part(record, "events").items;
        for (; physedge_stream_next_event(stream_, &event) != 0; ++count) {
            if (count >= events.size()) continue;
            std::string was = physedge::canonical_json(events[count]);
            Json line, at, kind, text;
            at.kind = Json::Kind::integer;
            at.text = std::to_string(event.at_ns);
            kind.kind = text.kind = Json::Kind::string;
            kind.text = physedge_event_name(event.kind);
            text.text = event.text;
            line.kind = Json::Kind::array;
            line.items = {at, kind, text};
            compare("the log", was, physedge::canonical_json(line));
        }
        compare("the number of lines of the log at once", std::to_string(events.size()), std::to_string(count));
    }

    void compare_item(const Json& was, const physedge_stream_item& item) {
        ++decisions;
        std::string frame = item.has_frame ? std::to_string(item.frame_id) : "none";
        std::string of = " of the decision on frame " + frame;
        compare("frame_id" + of, is_null(was, "frame_id") ? "none" : part(was, "frame_id").text, frame);
        compare("answered" + of, part(was, "answered").boolean ? "yes" : "no", item.answered ? "yes" : "no");
        compare("signal" + of, part(was, "signal").text, physedge_signal_name(item.signal));
        compare("reason" + of, part(was, "reason").text, item.reason);
        compare("withdrawn" + of, part(was, "withdrawn").text, physedge_withdrawal_name(item.withdrawn));
        compare("withdrawn_text" + of, part(was, "withdrawn_text").text, item.withdrawn_text);
        compare("captured_ns" + of, part(was, "captured_ns").text, std::to_string(item.captured_ns));
        compare("at_ns" + of, part(was, "at_ns").text, std::to_string(item.at_ns));
        std::string trust = item.has_trust ? std::string(trust_name(item.trust)) + " " + item.trust_reason : "none";
        compare("trust" + of, is_null(was, "trust") ? "none" : part(was, "trust").text, trust);
        const Json& drops = part(was, "drops");
        compare_drops("superseded", drops, item.drops.superseded, of);
        compare_drops("queue_full", drops, item.drops.queue_full, of);
        compare_drops("source_gap", drops, item.drops.source_gap, of);
        compare_drops("overtaken", drops, item.drops.overtaken, of);
    }

    void compare_drops(const char* cause, const Json& drops, std::uint64_t now, const std::string& of) {
        const Json* was = drops.find(cause);
        compare(std::string(cause) + of, was == nullptr ? "0" : was->text, std::to_string(now));
    }

    void compare(const std::string& what, const std::string& was, const std::string& now) {
        if (was != now && difference.empty()) difference = what + " was " + was + ", is " + now;
    }
};

void replay(std::istream& file, Replay& replayed) {
    char magic[8];
    if (!file.read(magic, sizeof magic) || std::memcmp(magic, "physedg1", sizeof magic) != 0)
        throw Damaged{"it does not begin like one"};
    unsigned char head[8];
    while (file.read(reinterpret_cast<char*>(head), sizeof head)) {
        auto length = [&](int start) {
            return static_cast<std::uint32_t>(head[start] | head[start + 1] << 8 | head[start + 2] << 16) |
                   static_cast<std::uint32_t>(head[start + 3]) << 24;
        };
        if (length(0) > largest_text_bytes || length(4) > largest_pixels_bytes) throw Damaged{"a record is larger than any"};
        std::string text(length(0), '\0'), pixels(length(4), '\0');
        if (!file.read(text.data(), static_cast<std::streamsize>(text.size())) ||
            !file.read(pixels.data(), static_cast<std::streamsize>(pixels.size())))
            return;  // a recording that breaks off is read up to its last whole record
        if (replayed.difference.empty()) replayed.follow(physedge::parse_json(text, SIZE_MAX), pixels);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: %s FILE\n", arguments[0]);
        return 2;
    }
    std::ifstream file(arguments[1], std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "PE-STREAM-005: %s cannot be read\n", arguments[1]);
        return 2;
    }
    Replay replayed;
    try {
        replay(file, replayed);
    } catch (const Damaged& damage) {
        std::fprintf(stderr, "PE-STREAM-006: %s is no whole recording (%s)\n", arguments[1], damage.why.c_str());
        return 4;
    } catch (const std::exception& damage) {
        std::fprintf(stderr, "PE-STREAM-006: %s is no whole recording (%s)\n", arguments[1], damage.what());
        return 4;
    }
    Json difference;
    difference.kind = Json::Kind::string;
    difference.text = replayed.difference;
    std::string shown = physedge::canonical_json(difference);
    shown.pop_back();
    std::printf("{\"streams\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"decisions\":%" PRIu64 ",\"first_difference\":%s,\"identical\":%s}\n",
                replayed.streams, replayed.frames, replayed.decisions, shown.c_str(), replayed.difference.empty() ? "true" : "false");
    return replayed.difference.empty() ? 0 : 4;
}
