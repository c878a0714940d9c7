#include "update.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <set>
#include <system_error>

#include "guarded_files.hpp"
#include "json.hpp"
#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::size_t largest_record_bytes = 64 << 10;

[[noreturn]] void unusable(const std::string& path, const std::string& why) {
    refuse(PHYSEDGE_INTEGRITY, "PE-INSTALL-004", "the record " + path + " cannot be used (" + why + ")",
           "the record that physedge install wrote",
           "find out what happened to it; docs/security.md says how it is begun anew, as by install --mend");
}

// The record of a file; nothing where nothing has this name.
std::optional<Json> read_record(const std::string& path, bool (*is_valid)(const Json&)) {
    struct stat status{};
    if (lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
        unusable(path, std::strerror(errno));
    }
    if (S_ISLNK(status.st_mode)) unusable(path, "a link");
    try {
        std::optional<std::string> data = read_guarded(path, largest_record_bytes);
        if (!data) unusable(path, "too long");
        Json record = parse_json(*data);
        if (!is_valid(record)) unusable(path, "other members than it has");
        if (canonical_json(record) != *data) unusable(path, "not in canonical form");
        return record;
    } catch (const std::system_error& error) {
        unusable(path, std::strerror(error.code().value()));
    } catch (const JsonError& error) {
        unusable(path, error.what());
    }
}

bool has_members(const Json& record, const std::set<std::string>& names) {
    if (!record.is(Json::Kind::object) || record.members.size() != names.size()) return false;
    return std::all_of(names.begin(), names.end(), [&](const std::string& name) { return record.find(name) != nullptr; });
}

// A whole number from 0 on that fits a machine word.
bool is_count(const Json& value) {
    return value.is(Json::Kind::integer) && value.integer() >= 0 && std::to_string(value.integer()) == value.text;
}

bool is_one(const Json& value) { return is_count(value) && value.integer() == 1; }

bool is_hash(const Json& value) { return value.is(Json::Kind::string) && is_sha256(value.text); }

bool is_slot_name(const Json& value) {
    return value.is(Json::Kind::null) || (value.is(Json::Kind::string) && (value.text == "a" || value.text == "b"));
}

bool is_state(const Json& record) {
    if (!has_members(record, {"active", "floor", "on_trial", "previous", "schema_version", "slots", "starts"})) return false;
    const Json &active = record.at("active"), &previous = record.at("previous"), &slots = record.at("slots");
    bool are_sound = is_slot_name(active) && is_slot_name(previous) && is_count(record.at("floor")) &&
                     is_count(record.at("starts")) && is_one(record.at("schema_version")) &&
                     record.at("on_trial").is(Json::Kind::boolean) && slots.is(Json::Kind::object);
    if (!are_sound) return false;
    for (const auto& [name, slot] : slots.members)
        if ((name != "a" && name != "b") || !has_members(slot, {"release", "sha256"}) || !is_count(slot.at("release")) ||
            !is_hash(slot.at("sha256")))
            return false;
    bool is_empty = active.is(Json::Kind::null);
    if (is_empty) return slots.members.empty() && previous.is(Json::Kind::null) && !record.at("on_trial").boolean;
    bool has_spare = !previous.is(Json::Kind::null);
    return slots.find(active.text) != nullptr && (!has_spare || (slots.find(previous.text) != nullptr && previous.text != active.text));
}

bool is_floor(const Json& record) {
    if (!has_members(record, {"floor", "resets", "schema_version", "withdrawn"})) return false;
    const Json &resets = record.at("resets"), &withdrawn = record.at("withdrawn");
    return is_count(record.at("floor")) && is_one(record.at("schema_version")) && resets.is(Json::Kind::array) &&
           withdrawn.is(Json::Kind::array) && std::all_of(resets.items.begin(), resets.items.end(), is_hash) &&
           std::all_of(withdrawn.items.begin(), withdrawn.items.end(), is_count);
}

bool is_clock(const Json& record) {
    return has_members(record, {"newest_day", "schema_version"}) && is_one(record.at("schema_version")) &&
           record.at("newest_day").is(Json::Kind::string) && is_day(record.at("newest_day").text);
}

bool is_withdrawn(const Json& kept, std::int64_t release) {
    const std::vector<Json>& items = kept.at("withdrawn").items;
    return std::any_of(items.begin(), items.end(), [&](const Json& item) { return item.integer() == release; });
}

std::string says(const std::optional<Json>& record) {
    return record ? "says release " + record->at("floor").text : "is not there";
}

// Both places of one network.
struct Records {
    std::string folder, state_path, floor_path;
    std::optional<Json> state, kept;
    std::int64_t floor = 0;

    Records(const std::string& root, const std::string& network)
        : folder(root + "/" + network), state_path(folder + "/state.json"), floor_path(folder + ".floor"),
          state(read_record(state_path, is_state)), kept(read_record(floor_path, is_floor)) {
        if (!state && (!kept || kept->at("floor").integer() == 0)) return;
        if (state && kept) {
            std::int64_t recorded = state->at("floor").integer(), second = kept->at("floor").integer();
            // A cut between two writes explains these; floor.py says how.
            bool is_cut_rise = second > recorded && is_on_trial() && slot().at("release").integer() == second;
            bool is_cut_reset = second < recorded && is_withdrawn(*kept, recorded);
            floor = second;
            if (recorded == second || is_cut_rise || is_cut_reset) return;
        }
        refuse(PHYSEDGE_INTEGRITY, "PE-INSTALL-008", state_path + " " + says(state) + ", " + network + ".floor " + says(kept),
               "one release floor in both",
               "find out what happened to them; a release that is not older than either mends it: physedge install BUNDLE --mend");
    }

    bool is_on_trial() const { return state->at("on_trial").boolean; }
    // The active one.
    const Json& slot() const { return state->at("slots").at(state->at("active").text); }
};

[[noreturn]] void not_free(const std::string& folder, const std::string& why) {
    refuse(PHYSEDGE_USAGE, "PE-INSTALL-002", folder + " cannot be worked on (" + why + ")",
           "a folder that may be written to, and nobody else at it", "make room, or wait");
}

class Descriptor {
public:
    Descriptor(const std::string& path, int flags, mode_t mode = 0) : number(open(path.c_str(), flags | O_CLOEXEC, mode)) {
        if (number < 0) not_free(path, std::strerror(errno));
    }
    ~Descriptor() { close(number); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    const int number;
};

void write_all(int handle, std::string_view data, const std::string& path) {
    while (!data.empty()) {
        ssize_t bytes = write(handle, data.data(), data.size());
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes < 0) not_free(path, std::strerror(errno));
        data.remove_prefix(static_cast<std::size_t>(bytes));
    }
    if (fsync(handle) != 0) not_free(path, std::strerror(errno));
}

// A reader sees the old record or the new one, also after a power cut.
void write_record(const std::string& path, const Json& record) {
    std::string folder = folder_of(path);
    std::string temporary = folder + "/." + path.substr(folder.size() + 1) + ".XXXXXX";
    int handle = mkostemp(temporary.data(), O_CLOEXEC);
    if (handle < 0) not_free(path, std::strerror(errno));
    try {
        write_all(handle, canonical_json(record), path);
        if (fchmod(handle, 0644) != 0 || rename(temporary.c_str(), path.c_str()) != 0) not_free(path, std::strerror(errno));
    } catch (...) {
        close(handle);
        unlink(temporary.c_str());
        throw;
    }
    close(handle);
    Descriptor opened(folder, O_RDONLY | O_DIRECTORY);
    if (fsync(opened.number) != 0) not_free(path, std::strerror(errno));
}

Json whole(std::int64_t value) {
    Json made;
    made.kind = Json::Kind::integer;
    made.text = std::to_string(value);
    return made;
}

Json truth(bool value) {
    Json made;
    made.kind = Json::Kind::boolean;
    made.boolean = value;
    return made;
}

Json words(const std::string& value) {
    Json made;
    made.kind = Json::Kind::string;
    made.text = value;
    return made;
}

void note_day(const std::string& root) {
    std::string path = root + "/clock.json";
    std::optional<Json> record = read_record(path, is_clock);
    Day today = today_utc();
    if (record && record->at("newest_day").text >= today) return;
    Json made;
    made.kind = Json::Kind::object;
    made.members = {{"newest_day", words(today)}, {"schema_version", whole(1)}};
    write_record(path, made);
}

void note_proof(const Records& records, const std::string& slot, std::int64_t release, std::int64_t floor) {
    std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char utc[32];
    std::strftime(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ", &parts);
    std::string line = "{\"utc\": \"" + std::string(utc) + "\", \"event\": \"proved\", \"slot\": \"" + slot +
                       "\", \"release\": " + std::to_string(release) + ", \"floor\": " + std::to_string(floor) + "}\n";
    Descriptor log(records.folder + "/install.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0644);
    write_all(log.number, line, records.folder + "/install.log");
}

bool is_network(const std::string& name) {
    bool is_plain = std::all_of(name.begin(), name.end(), [](char character) {
        return is_digit(character) || (character >= 'a' && character <= 'z') || character == '_' || character == '-';
    });
    return is_plain && !name.empty() && name.size() <= 64 && name[0] != '_' && name[0] != '-';
}

[[noreturn]] void nothing_installed(const std::string& found) {
    refuse(PHYSEDGE_USAGE, "PE-INSTALL-005", found, "an installed bundle", "physedge install BUNDLE");
}

}  // namespace

std::int64_t release_floor(const std::string& root, const std::string& network) { return Records(root, network).floor; }

Day judging_day(const std::string& root) {
    if (root.empty()) return today_utc();
    std::optional<Json> record = read_record(root + "/clock.json", is_clock);
    return record ? std::max(record->at("newest_day").text, today_utc()) : today_utc();
}

std::int64_t update_good(const std::string& root, const std::string& network, const std::string& sha256) {
    if (!is_network(network)) nothing_installed("the name " + quoted(network));
    std::string folder = root + "/" + network;
    struct stat status{};
    if (stat(folder.c_str(), &status) != 0) nothing_installed("in " + folder + ": nothing installed");
    Descriptor lock(folder + "/.lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (flock(lock.number, LOCK_EX | LOCK_NB) != 0) not_free(folder, "another process is at work there");
    Records records(root, network);
    if (!records.state || records.state->at("active").is(Json::Kind::null)) nothing_installed("in " + folder + ": nothing installed");
    std::string slot = records.state->at("active").text;
    if (records.slot().at("sha256").text != sha256)
        refuse(PHYSEDGE_INTEGRITY, "PE-INSTALL-012", "another file has answered than lies in slot " + slot + " of " + network,
               "the bundle of the active slot", "start it, and let it answer first");
    if (!records.is_on_trial()) return records.floor;
    std::int64_t release = records.slot().at("release").integer(), floor = records.floor;
    if (!is_withdrawn(*records.kept, release)) floor = std::max(floor, release);
    // In this order: a cut in between is no disagreement.
    records.kept->members["floor"] = whole(floor);
    write_record(records.floor_path, *records.kept);
    Json& state = *records.state;
    state.members["floor"] = whole(floor);
    state.members["on_trial"] = truth(false);
    state.members["starts"] = whole(0);
    write_record(records.state_path, state);
    note_day(root);
    note_proof(records, slot, release, floor);
    return floor;
}

}  // namespace physedge

using namespace physedge;

extern "C" physedge_status physedge_update_good(const char* root, const char* network, const char* sha256, uint64_t* floor,
                                                physedge_error* error) {
    return guarded(error, [&] {
        if (network == nullptr || sha256 == nullptr)
            refuse(PHYSEDGE_USAGE, "PE-NATIVE-001", "NULL for network or sha256", "a value", "correct the call");
        std::string place = root != nullptr ? root : device_trust().root;
        if (place.empty())
            refuse(PHYSEDGE_USAGE, "PE-NATIVE-001", "no root, and a device without a configuration", "where bundles are installed",
                   "name it");
        std::int64_t reached = update_good(place, network, sha256);
        if (floor != nullptr) *floor = static_cast<uint64_t>(reached);
    });
}
