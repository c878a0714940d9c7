#include "trust.hpp"

#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <utility>

#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "hash.hpp"
#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::size_t largest_key_file_bytes = 16 << 10, largest_list_bytes = 4 << 20;
// SubjectPublicKeyInfo of Ed25519 is this and the 32 bytes of the key (RFC 8410, section 4).
constexpr unsigned char public_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr char device_file[] = "/etc/physedge/device.toml";

std::string folder_of(const std::string& path) {
    std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string beside(const std::string& path, const std::string& name) {
    return !name.empty() && name[0] == '/' ? name : folder_of(path) + "/" + name;
}

std::string stem(const std::string& path) {
    std::size_t slash = path.rfind('/');
    std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    std::size_t dot = name.rfind('.');
    return dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
}

std::string read_small(const std::string& path, std::size_t largest_bytes) {
    std::ifstream stream(path, std::ios::binary);
    std::string data(largest_bytes, '\0');
    if (stream) stream.read(data.data(), static_cast<std::streamsize>(data.size()));
    if (!stream.is_open() || stream.bad())
        refuse(PHYSEDGE_USAGE, "PE-SIGN-001", path + " cannot be read (" + std::strerror(errno) + ")",
               "a key file or a list of revocations", "check the path; physedge sign --new-key maker.pem makes a key");
    data.resize(static_cast<std::size_t>(stream.gcount()));
    return data;
}

void refuse_writable_by_others(const std::string& path, bool check_owner = false) {
    struct stat file{}, folder{};
    char* resolved = realpath(path.c_str(), nullptr);
    std::string real = resolved != nullptr ? resolved : path;
    std::free(resolved);
    if (stat(path.c_str(), &file) != 0 || stat(folder_of(real).c_str(), &folder) != 0)
        refuse(PHYSEDGE_USAGE, "PE-SIGN-001", path + " cannot be read (" + std::strerror(errno) + ")",
               "a key file or a list of revocations", "check the path");
    bool loose_folder = (folder.st_mode & S_IWOTH) != 0 && (folder.st_mode & S_ISVTX) == 0;
    bool stranger = check_owner && file.st_uid != 0 && file.st_uid != geteuid();
    if ((file.st_mode & (S_IWGRP | S_IWOTH)) == 0 && !loose_folder && !stranger) return;
    refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-004",
           path + (stranger ? " belongs to another user" : " may be changed by others"),
           "a file, and a folder, that only its owner may write to",
           "check who changed it, then chmod go-w " + path);
}

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
    refuse(PHYSEDGE_USAGE, "PE-SIGN-014", "the device's configuration " + path + " cannot be used (" + detail + ")",
           "[trust] keys, revoked; [install] root, as docs/security.md describes them",
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
    std::string key_id = sha256(public_key);
    keys.push_back({std::move(name), std::move(public_key), std::move(key_id), std::move(not_after)});
}

void TrustStore::add_key_file(const std::string& path, std::optional<Day> not_after) {
    std::string data = read_small(path, largest_key_file_bytes);
    refuse_writable_by_others(path);
    std::string key = key_from_pem(data);
    if (key.empty())
        refuse(PHYSEDGE_USAGE, "PE-SIGN-002",
               path + " holds " + (data.find("PRIVATE KEY") != std::string::npos ? "a private key" : "no public Ed25519 key in PEM form"),
               "an Ed25519 public key, NAME.pub", "name the other file of the pair");
    add_key(stem(path), std::move(key), std::move(not_after));
}

void TrustStore::add_revocations(const std::string& path) {
    std::string data = read_small(path, largest_list_bytes);
    refuse_writable_by_others(path);
    std::size_t start = 0;
    for (int number = 1; start <= data.size(); ++number) {
        std::size_t end = std::min(data.find('\n', start), data.size());
        std::string_view line = std::string_view(data).substr(start, end - start);
        start = end + 1;
        line = line.substr(0, line.find('#'));
        while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
        while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
        if (line.empty()) continue;
        std::size_t gap = line.find_first_of(" \t");
        std::string_view word = line.substr(0, gap);
        std::string_view digits = gap == std::string_view::npos ? "" : line.substr(gap);
        while (!digits.empty() && is_space(digits.front())) digits.remove_prefix(1);
        if (!is_sha256(digits) || (word != "key" && word != "bundle"))
            refuse(PHYSEDGE_USAGE, "PE-SIGN-013", "line " + std::to_string(number) + " of " + path,
                   "'key' or 'bundle' and 64 hexadecimal digits", "correct the list");
        (word == "key" ? revoked_keys : revoked_bundles).emplace(digits);
    }
}

void TrustStore::add_device(const std::string& path) {
    struct stat file{};
    if (stat(path.c_str(), &file) != 0) unusable(path, std::strerror(errno));
    refuse_writable_by_others(path, true);
    toml::table content;
    try {
        content = toml::parse_file(path);
    } catch (const toml::parse_error& error) {
        unusable(path, std::string(error.description()));
    }
    for (const auto& [section, values] : content) {
        const toml::table* table = values.as_table();
        bool known = table != nullptr && (section == "trust" || section == "install");
        if (known)
            for (const auto& [key, value] : *table) {
                (void)value;
                known = known && (section == "trust" ? key == "keys" || key == "revoked" : key == "root");
            }
        if (!known) unusable(path, "the section or a key of [" + std::string(section.str()) + "] is unknown");
    }
    if (const toml::node* root = content.at_path("install.root").node(); root != nullptr && !root->is_string())
        unusable(path, "install.root is no text");
    if (const toml::node* revoked = content.at_path("trust.revoked").node()) {
        if (!revoked->is_string()) unusable(path, "trust.revoked is no text");
        add_revocations(beside(path, revoked->as_string()->get()));
    }
    if (const toml::node* listed = content.at_path("trust.keys").node()) {
        if (!listed->is_array()) unusable(path, "trust.keys is no list");
        for (const toml::node& entry : *listed->as_array()) add_configured_key(*this, path, entry);
    }
}

TrustStore device_trust() {
    TrustStore store;
    const char* named = std::getenv("PHYSEDGE_DEVICE");
    if (named != nullptr && *named != '\0') {
        store.add_device(named);
        return store;
    }
    struct stat file{};
    if (stat(device_file, &file) == 0 && S_ISREG(file.st_mode)) store.add_device(device_file);
    return store;
}

}  // namespace physedge
