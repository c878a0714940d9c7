// Whom a device believes: keys, revocations, device.toml.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "physedge.h"

namespace physedge {

// A day of the calendar as "YYYY-MM-DD", which sorts by time.
using Day = std::string;

// Throws Refusal (PE-NATIVE-001) for what is no day of the calendar.
Day parse_day(std::string_view text);
bool is_day(std::string_view text);
Day today_utc();

struct TrustedKey {
    std::string name;
    std::string public_key;  // 32 bytes
    std::string key_id;      // sha256 of them
    std::optional<Day> not_after;
};

struct TrustStore {
    std::vector<TrustedKey> keys;
    std::set<std::string> revoked_keys;
    std::set<std::string> revoked_bundles;
    std::optional<Day> today;
    std::string root;               // where the device's bundles are installed; "" without a configuration
    std::set<std::string> allowed;  // options that may weaken the configuration
    std::string weakened;           // by what it was weakened; "" for nothing

    const TrustedKey* find(const std::string& key_id) const;
    void add_key(std::string name, std::string public_key, std::optional<Day> not_after);
    void add_key_file(const std::string& path, std::optional<Day> not_after);
    void add_revocations(const std::string& path);
    void add_device(const std::string& path);
};

// What the configuration of this machine demands; anybody where there is none. Only where nothing lies at `configured`,
// PHYSEDGE_DEVICE may name another one.
TrustStore device_trust(const std::string& configured);
TrustStore device_trust();

}  // namespace physedge

struct physedge_trust {
    physedge::TrustStore store;
};
