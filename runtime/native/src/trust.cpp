#include "trust.hpp"

#include <sodium.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>

#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "guarded_files.hpp"
#include "hash.hpp"
#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::size_t largest_key_file_bytes = 16 << 10, largest_list_bytes = 4 << 20, largest_device_bytes = 1 << 20;
constexpr std::int64_t largest_step = std::int64_t{1} << 53;
// SubjectPublicKeyInfo of Ed25519 is this and the 32 bytes of the key (RFC 8410, section 4).
constexpr unsigned char public_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr char device_file[] = "/etc/physedge/device.toml", device_root[] = "/var/lib/physedge";
// What [allow] may name; device_config.py says what each is.
constexpr const char* known_options[] = {"device", "fall-back", "max-step", "rejected", "rollback", "root", "trust"};

std::string beside(const std::string& path, const std::string& name) {
    return !name.empty() && name[0] == '/' ? name : folder_of(path) + "/" + name;
}

std::string stem(const std::string& path) {
    std::size_t slash = path.rfind('/');
    std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    std::size_t dot = name.rfind('.');
    return dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
}

std::string read_or_refuse(const std::string& path, std::size_t largest_bytes, const char* too_large, physedge_status status) {
    std::optional<std::string> data;
    try {
        data = read_guarded(path, largest_bytes);
    } catch (const std::system_error& error) {
        refuse(PHYSEDGE_USAGE, "PE-SIGN-001", path + " cannot be read (" + std::strerror(error.code().value()) + ")",
               "a key file or a list of revocations", "check the path; physedge sign --new-key maker.pem makes a key");
    }
    if (!data)
        refuse(status, too_large, "more than " + std::to_string(largest_bytes) + " bytes in " + path,
               "a file that is read to its end", "correct it");
    return std::move(*data);
}

// What one reader takes for the end of a line and another for a part of it; see keys.py.
bool has_doubtful_end(std::string_view line) {
    for (std::string_view mark : {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
        if (line.find(mark) != std::string_view::npos) return true;
    return std::any_of(line.begin(), line.end(), [](char character) {
        auto value = static_cast<unsigned char>(character);
        return (value < 0x20 && character != '\t') || value == 0x7f;
    });
}

bool is_gap(char character) { return character == ' ' || character == '\t'; }

bool is_space(char character) { return character == ' ' || (character >= '\t' && character <= '\r'); }

// The 32 bytes of the one form that OpenSSL writes, "" for anything else.
std::string key_from_pem(std::string_view data) {
    static constexpr std::string_view begin = "-----BEGIN PUBLIC KEY-----", end = "-----END PUBLIC KEY-----";
    while (!data.empty() && is_space(data.back())) data.remove_suffix(1);
    if (data.substr(0, begin.size()) != begin || data.size() < begin.size() + end.size()) return "";
    data.remove_prefix(begin.size());
    if (data.substr(data.size() - end.size()) != end || !is_space(data[0])) return "";
    data.remove_suffix(end.size());
    unsigned char decoded[64];
    std::size_t bytes = 0;
    int status = sodium_base642bin(decoded, sizeof decoded, data.data(), data.size(), " \t\r\n\v\f", &bytes, nullptr,
                                   sodium_base64_VARIANT_ORIGINAL);
    if (status != 0 || bytes != sizeof public_prefix + 32) return "";
    if (std::memcmp(decoded, public_prefix, sizeof public_prefix) != 0) return "";
    return std::string(reinterpret_cast<char*>(decoded) + sizeof public_prefix, 32);
}

[[noreturn]] void unusable(const std::string& path, const std::string& detail) {
    refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-014", "the device's configuration " + path + " cannot be used (" + detail + ")",
           "[trust] keys, revoked; [install] root, max_step; [allow] options, as docs/security.md describes them",
           "correct it; until then no bundle opens here");
}

void add_configured_key(TrustStore& store, const std::string& path, const toml::node& entry) {
    if (auto file = entry.value_exact<std::string>()) return store.add_key_file(beside(path, *file), std::nullopt);
    if (const toml::table* table = entry.as_table(); table != nullptr && table->size() == 2) {
        auto file = (*table)["file"].value_exact<std::string>();
        auto last_day = (*table)["not_after"].value_exact<toml::date>();
        if (file && last_day) {
            char day[16];
            std::snprintf(day, sizeof day, "%04d-%02d-%02d", last_day->year, last_day->month, last_day->day);
            return store.add_key_file(beside(path, *file), Day(day));
        }
    }
    unusable(path, "an entry of trust.keys is neither a file nor {file = ..., not_after = DATE}");
}

void refuse_unknown(const toml::table& content, const std::string& path) {
    static const std::map<std::string_view, std::set<std::string_view>> sections = {
        {"trust", {"keys", "revoked"}}, {"install", {"root", "max_step"}}, {"allow", {"options"}}};
    for (const auto& [section, values] : content) {
        auto known = sections.find(section.str());
        const toml::table* table = values.as_table();
        bool is_known = known != sections.end() && table != nullptr;
        if (is_known)
            for (const auto& [key, value] : *table) {
                (void)value;
                is_known = is_known && known->second.count(key.str()) != 0;
            }
        if (!is_known) unusable(path, "the section or a key of [" + std::string(section.str()) + "] is unknown");
    }
}

void take_install(TrustStore& store, const toml::table& content, const std::string& path) {
    store.root = device_root;
    if (const toml::node* named = content.at_path("install.root").node()) {
        if (!named->is_string()) unusable(path, "install.root is not a text");
        store.root = beside(path, named->as_string()->get());
    }
    if (const toml::node* step = content.at_path("install.max_step").node()) {
        auto number = step->value_exact<std::int64_t>();
        if (!number || *number < 1 || *number > largest_step)
            unusable(path, "install.max_step is not a number from 1 to " + std::to_string(largest_step));
    }
    if (const toml::node* options = content.at_path("allow.options").node()) {
        if (!options->is_array()) unusable(path, "allow.options is not a list");
        for (const toml::node& option : *options->as_array()) {
            auto name = option.value_exact<std::string>();
            if (!name || std::find(std::begin(known_options), std::end(known_options), *name) == std::end(known_options))
                unusable(path, "allow.options names an option that is not known");
            store.allowed.insert(*name);
        }
    }
}

void take_trust(TrustStore& store, const toml::table& content, const std::string& path) {
    if (const toml::node* revoked = content.at_path("trust.revoked").node()) {
        if (!revoked->is_string()) unusable(path, "trust.revoked is not a text");
        store.add_revocations(beside(path, revoked->as_string()->get()));
    }
    if (const toml::node* listed = content.at_path("trust.keys").node()) {
        if (!listed->is_array()) unusable(path, "trust.keys is not a list");
        for (const toml::node& entry : *listed->as_array()) add_configured_key(store, path, entry);
    }
}

}  // namespace

bool is_day(std::string_view text) {
    if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
    for (std::size_t index : {0, 1, 2, 3, 5, 6, 8, 9})
        if (!is_digit(text[index])) return false;
    auto number = [&](std::size_t start, std::size_t count) { return std::atoi(std::string(text.substr(start, count)).c_str()); };
    int year = number(0, 4), month = number(5, 2), day = number(8, 2);
    static constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

Day parse_day(std::string_view text) {
    if (!is_day(text))
        refuse(PHYSEDGE_USAGE, "PE-NATIVE-001", "the day " + quoted(text), "YYYY-MM-DD", "correct the call");
    return Day(text);
}

Day today_utc() {
    std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char day[16];
    std::strftime(day, sizeof day, "%Y-%m-%d", &parts);
    return day;
}

const TrustedKey* TrustStore::find(const std::string& key_id) const {
    for (const TrustedKey& key : keys)
        if (key.key_id == key_id) return &key;
    return nullptr;
}

void TrustStore::add_key(std::string name, std::string public_key, std::optional<Day> not_after) {
    if (!is_sound_public_key(public_key))
        refuse(PHYSEDGE_USAGE, "PE-SIGN-002", name + " holds a degenerate public key, under which anybody could sign",
               "a key of prime order", "name the other file of the pair");
    std::string key_id = sha256(public_key);
    keys.push_back({std::move(name), std::move(public_key), std::move(key_id), std::move(not_after)});
}

void TrustStore::add_key_file(const std::string& path, std::optional<Day> not_after) {
    std::string data = read_or_refuse(path, largest_key_file_bytes, "PE-SIGN-002", PHYSEDGE_USAGE);
    std::string key = key_from_pem(data);
    if (key.empty())
        refuse(PHYSEDGE_USAGE, "PE-SIGN-002",
               path + " holds " + (data.find("PRIVATE KEY") != std::string::npos ? "a private key" : "no public Ed25519 key in PEM form"),
               "an Ed25519 public key, NAME.pub", "name the other file of the pair");
    add_key(stem(path), std::move(key), std::move(not_after));
}

void TrustStore::add_revocations(const std::string& path) {
    auto no_list = [&path](const std::string& found, const char* expected) {
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-013", found + " " + path, expected, "correct the list");
    };
    std::string data = read_or_refuse(path, largest_list_bytes, "PE-SIGN-013", PHYSEDGE_INTEGRITY);
    std::size_t start = 0;
    for (int number = 1; start <= data.size(); ++number) {
        std::size_t end = std::min(data.find('\n', start), data.size());
        std::string_view line = std::string_view(data).substr(start, end - start);
        start = end + 1;
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        if (has_doubtful_end(line))
            no_list("a control character or another line end in line " + std::to_string(number) + " of", "lines that end in LF");
        line = line.substr(0, line.find('#'));
        while (!line.empty() && is_gap(line.front())) line.remove_prefix(1);
        while (!line.empty() && is_gap(line.back())) line.remove_suffix(1);
        if (line.empty()) continue;
        std::size_t gap = line.find_first_of(" \t");
        std::string_view word = line.substr(0, gap);
        std::string_view digits = gap == std::string_view::npos ? "" : line.substr(gap);
        while (!digits.empty() && is_gap(digits.front())) digits.remove_prefix(1);
        if (!is_sha256(digits) || (word != "key" && word != "bundle"))
            no_list("line " + std::to_string(number) + " of", "'key' or 'bundle' and 64 hexadecimal digits");
        (word == "key" ? revoked_keys : revoked_bundles).emplace(digits);
    }
}

void TrustStore::add_device(const std::string& path) {
    std::optional<std::string> text;
    toml::table content;
    try {
        text = read_guarded(path, largest_device_bytes);
        if (text) content = toml::parse(*text, path);
    } catch (const std::system_error& error) {
        unusable(path, std::strerror(error.code().value()));
    } catch (const toml::parse_error& error) {
        unusable(path, std::string(error.description()));
    }
    if (!text) unusable(path, "more than " + std::to_string(largest_device_bytes) + " bytes");
    refuse_unknown(content, path);
    try {
        take_install(*this, content, path);
        take_trust(*this, content, path);
    } catch (const Refusal& refusal) {
        // A file that the configuration names and that cannot be used makes the configuration unusable.
        if (refusal.status == PHYSEDGE_USAGE) unusable(path, refusal.found);
        throw;
    }
}

TrustStore device_trust(const std::string& configured) {
    TrustStore store;
    const char* named = std::getenv("PHYSEDGE_DEVICE");
    bool is_named = named != nullptr && *named != '\0';
    if (!is_there(configured)) {
        if (is_named) store.add_device(named);
        return store;
    }
    store.add_device(configured);
    if (!is_named || named == configured) return store;
    std::string how = "PHYSEDGE_DEVICE=" + std::string(named);
    if (store.allowed.count("device") == 0)
        refuse(PHYSEDGE_USAGE, "PE-SIGN-016", how + ", which weakens what " + configured + " demands",
               "\"device\" among the options of its section [allow]", "leave it out, or ask whoever administers this device");
    TrustStore other;
    other.revoked_keys = store.revoked_keys;
    other.revoked_bundles = store.revoked_bundles;
    other.weakened = how;
    other.add_device(named);
    return other;
}

TrustStore device_trust() { return device_trust(device_file); }

}  // namespace physedge
