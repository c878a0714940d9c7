// A network made ready: one frame to one result.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "arena.hpp"
#include "bundle.hpp"
#include "engines/engine.hpp"
#include "manifest.hpp"
#include "frame_mask.hpp"
#include "resize.hpp"

struct physedge_net {
public:
    // Throws physedge::Refusal.
    physedge_net(const physedge_bundle& bundle, const physedge_open_options& options);
    ~physedge_net();
    physedge_net(const physedge_net&) = delete;
    physedge_net& operator=(const physedge_net&) = delete;

    void describe(physedge_net_info& info) const;
    physedge_status infer(const physedge_frame& frame, physedge_result& result, physedge_error* error) noexcept;
    physedge_status prepare(const physedge_frame& frame, std::uint8_t* grid, std::size_t grid_bytes, physedge_error* error) noexcept;
    const physedge::ModelSpec& spec() const { return spec_; }
    // Of the mask of a result; 0 where the answer is none.
    std::size_t mask_points() const;
    // Whether a result has the memory of the answer, and a mask can be made of it.
    bool has_answer(const physedge_result& result) const noexcept;
    physedge::FrameMask frame_mask(const physedge_result& result, const physedge::Geometry& way) const noexcept;

private:
    physedge::ModelSpec spec_;
    std::vector<physedge::Output> outputs_;
    physedge::Artefact artefact_;
    physedge::TrustRecord trust_;
    std::string engine_name_, fingerprint_, bundle_trust_;
    std::vector<const char*> class_names_;
    physedge_open_options options_;
    physedge::Arena arena_;
    std::unique_ptr<physedge::Preparer> preparer_;
    void* input_ = nullptr;
    std::uint8_t* picture_ = nullptr;  // the input of a picture network
    float* voltages_ = nullptr;        // the input of another
    std::vector<float*> buffers_;
    std::unique_ptr<physedge::Engine> engine_;
    std::atomic_flag is_in_use_ = ATOMIC_FLAG_INIT;
    bool is_dead_ = false;
    std::size_t golden_frames_ = 0;
    double golden_mean_error_ = 0, golden_max_error_ = 0, load_ms_ = 0, golden_ms_ = 0;
    bool has_own_ = false, is_full_precision_ = false;
    double own_mean_error_ = 0, own_max_error_ = 0;
    std::size_t answer_ = 0;  // index of the output that is the answer

    void plan_memory(const physedge_bundle& bundle);
    void open_engine(const physedge_bundle& bundle);
    // How far the engine's answers lie from others: the largest mean of an output that is no signal, the largest of all.
    struct Distance {
        double mean = 0, max = 0;
    };
    void replay_golden(const physedge_bundle& bundle);
    Distance distance(const std::vector<std::pair<std::string, std::string>>& wanted, const physedge_bundle& bundle) const;
    void refuse_constant(const physedge::Output& output, const float* found, std::string_view wanted, const std::string& frame) const;
    // 1, 0, or -1 where the bundle does not say.
    int computes_as_exported() const;
    void refuse_other_computation() const;
    const physedge::Output& output(const std::string& name) const;
    const float* answer(const physedge::Output& output) const { return buffers_[static_cast<std::size_t>(&output - outputs_.data())]; }
    bool feed_watchdog(physedge_stage stage) const;
    physedge_status fill_input(const physedge_frame& frame, std::uint8_t* picture, physedge_error* error) noexcept;
    physedge_status run_engine(physedge_error* error) noexcept;
    void judge(physedge_result& result) const noexcept;
    void threshold(const float* values, std::size_t planes, std::size_t points, physedge_result& result) const noexcept;
    physedge_status decode(physedge_result& result, physedge_error* error) const noexcept;
};
