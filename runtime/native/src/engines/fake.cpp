// An engine without a network, for tests of whatever stands around one: every output is the mean brightness of the
// input, pixel by pixel where the shapes allow; trust signals are 0. It ships, since firmware engineers test too.
#include <cstdint>

#include "engines/engine.hpp"

namespace physedge {

namespace {

class FakeEngine final : public Engine {
public:
    void open(const EngineRequest& request) override { request_ = request; }

    State start() noexcept override {
        const std::vector<std::int64_t>& shape = request_.input_shape;
        std::size_t last = static_cast<std::size_t>(shape.back());
        std::size_t points = 1;
        for (std::size_t axis = 1; axis + 1 < shape.size(); ++axis) points *= static_cast<std::size_t>(shape[axis]);
        double sum = 0;
        for (std::size_t point = 0; point < points; ++point) sum += brightness(point, last);
        float mean = static_cast<float>(sum / static_cast<double>(points));
        for (std::size_t index = 0; index < request_.outputs.size(); ++index) {
            const Output& output = request_.outputs[index];
            bool is_map = shape.size() == 4 && output.shape.size() == 3 && output.shape[1] == shape[1] && output.shape[2] == shape[2];
            float* values = request_.output_buffers[index];
            for (std::size_t value = 0; value < output.floats(); ++value)
                values[value] = is_signal(output.name) ? 0 : is_map ? brightness(value % points, last) : mean;
        }
        return State::done;
    }
    State wait(unsigned) noexcept override { return State::done; }
    bool cancel() noexcept override { return true; }
    const char* failure() const noexcept override { return ""; }
    std::string version() const override { return "1"; }

private:
    EngineRequest request_;

    float brightness(std::size_t point, std::size_t count) const {
        float sum = 0;
        for (std::size_t index = point * count; index < (point + 1) * count; ++index)
            sum += request_.is_picture ? static_cast<float>(static_cast<const std::uint8_t*>(request_.input)[index])
                                       : static_cast<const float*>(request_.input)[index];
        return sum / static_cast<float>(count) / (request_.is_picture ? 255.0F : 1.0F);
    }
};

}  // namespace

std::unique_ptr<Engine> make_fake_engine() { return std::make_unique<FakeEngine>(); }

}  // namespace physedge
