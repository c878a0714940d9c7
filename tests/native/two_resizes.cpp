// The resize by AVX2 and by plain loops, on random frames and forms: prints how many pictures were the same, or the
// first that was not.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "resize.hpp"
#include "resize_avx2.hpp"

using namespace physedge;

int main(int count, char** arguments) {
    if (count != 2) return 2;
    if (!has_avx2()) return std::puts("no AVX2"), 0;
    std::mt19937 generator(1);
    auto between = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(generator); };
    int wanted = std::atoi(arguments[1]);
    for (int picture = 0; picture < wanted; ++picture) {
        FrameSpec spec;
        spec.height = between(1, 120), spec.width = between(1, 220);
        spec.colour = static_cast<Colour>(between(0, 2));
        spec.letterbox = between(0, 1) != 0;
        if (between(0, 1) != 0) spec.crop = Crop{0.1 * between(0, 4), 0.1 * between(0, 4), 0.1 * between(1, 5), 0.1 * between(1, 5)};
        physedge_frame frame{};
        frame.format = static_cast<physedge_format>(between(PHYSEDGE_RGB, PHYSEDGE_NV12));
        // Often small, seldom with more taps than eight.
        frame.height_px = static_cast<std::uint32_t>(2 * between(1, picture % 4 == 0 ? 900 : 100));
        frame.width_px = static_cast<std::uint32_t>(2 * between(1, picture % 4 == 0 ? 900 : 100));
        std::size_t row_bytes = frame.width_px * (frame.format == PHYSEDGE_RGB || frame.format == PHYSEDGE_BGR ? 3u : 1u);
        std::vector<std::uint8_t> pixels(row_bytes * frame.height_px * 3 / 2);
        int kind = between(0, 2);
        for (std::uint8_t& value : pixels) value = static_cast<std::uint8_t>(kind == 0 ? 255 : kind == 1 ? 255 * between(0, 1) : between(0, 255));
        frame.pixels = pixels.data();
        std::vector<std::uint8_t> grids[2];
        for (int wide = 0; wide < 2; ++wide) {
            Arena arena;
            Preparer preparer(spec, static_cast<int>(frame.height_px), static_cast<int>(frame.width_px), arena, wide != 0);
            arena.build();
            grids[wide].resize(spec.bytes());
            preparer.prepare(frame, grids[wide].data());
        }
        if (grids[0] == grids[1]) continue;
        std::printf("picture %d: %ux%u, format %d, to %dx%d differs\n", picture, frame.width_px, frame.height_px, static_cast<int>(frame.format),
                    spec.width, spec.height);
        return 1;
    }
    std::printf("%d\n", wanted);
    return 0;
}
