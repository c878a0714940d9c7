// What the configuration of a machine demands, at a place that the test chooses: device_trust PATH [UID].
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "refusal.hpp"
#include "trust.hpp"

int main(int count, char** words) {
    if (count > 2 && geteuid() == 0 && setuid(static_cast<uid_t>(std::atoi(words[2]))) != 0) return 1;
    try {
        physedge::TrustStore store = physedge::device_trust(words[1]);
        std::printf("taken %zu %s\n", store.keys.size(), store.weakened.c_str());
    } catch (const physedge::Refusal& refusal) {
        std::printf("%s %d\n", refusal.identifier.c_str(), static_cast<int>(refusal.status));
    }
    return 0;
}
