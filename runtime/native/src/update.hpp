// What a device keeps of its releases, as runtime/physedge_runtime/update does: the release floor in two places, the
// newest day that was seen, and the record of the slots, of which the library writes one thing: that a release is proven.
#pragma once

#include <cstdint>
#include <string>

#include "trust.hpp"

namespace physedge {

// The release floor of a network, which state.json and NAME.floor agree on; 0 where nothing is recorded. Throws Refusal:
// PE-INSTALL-004 (unreadable), PE-INSTALL-008 (they disagree), PE-SIGN-004.
std::int64_t release_floor(const std::string& root, const std::string& network);

// The day by which expiry is judged: that of the clock, or the newest one that was seen below `root`, whichever is later;
// "" for no root. Throws Refusal: PE-INSTALL-004, PE-SIGN-004.
Day judging_day(const std::string& root);

// Record that what is on trial has proven itself, and keep the day. Returns the floor. Throws Refusal: PE-INSTALL-002
// (cannot be written), 004, 005 (nothing installed), 008, 012 (another file is in the active slot).
std::int64_t update_good(const std::string& root, const std::string& network, const std::string& sha256);

}  // namespace physedge
