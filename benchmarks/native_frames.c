/* One graph, frame by frame in turn: libphysedge from raw frame to result, and bare OpenVINO on the prepared picture.
 * Prints a line for each: wall and processor time of both in milliseconds, and the resize's share of the first. */
#include <openvino/c/openvino.h>
#include <physedge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double milliseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void demand(int status, const char *what) {
    if (status == 0) return;
    fprintf(stderr, "%s: %d\n", what, status);
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 7) return fprintf(stderr, "usage: %s BUNDLE WIDTH HEIGHT THREADS FRAMES PRECISION\n", arguments[0]), 2;
    physedge_error error;
    physedge_bundle *bundle = NULL;
    physedge_net *net = NULL;
    physedge_net_info info;
    physedge_open_options options = physedge_open_defaults();
    options.engine = "openvino", options.allow_rejected = 1;
    options.precision = arguments[6][0] != '\0' ? arguments[6] : NULL;
    options.threads = (uint32_t)atoi(arguments[4]);
    demand(physedge_bundle_read(arguments[1], NULL, &bundle, &error), error.found);
    demand(physedge_net_open(bundle, &options, &net, &error), error.found);
    physedge_net_describe(net, &info);
    physedge_frame frame = {.format = PHYSEDGE_RGB, .width_px = (uint32_t)atoi(arguments[2]), .height_px = (uint32_t)atoi(arguments[3])};
    size_t frame_bytes = (size_t)frame.width_px * frame.height_px * 3, grid_bytes = (size_t)info.width_px * info.height_px * info.channels;
    uint8_t *pixels = malloc(frame_bytes), *grid = malloc(grid_bytes);
    srand(1);
    for (size_t index = 0; index < frame_bytes; ++index) pixels[index] = (uint8_t)rand();
    frame.pixels = pixels;
    physedge_result result = {.mask = malloc(info.mask_bytes + 1), .mask_bytes = info.mask_bytes};

    const void *graph;
    size_t graph_bytes;
    ov_core_t *core = NULL;
    ov_model_t *model = NULL;
    ov_compiled_model_t *compiled = NULL;
    ov_infer_request_t *request = NULL;
    ov_tensor_t *input = NULL;
    int64_t dims[4] = {1, info.height_px, info.width_px, info.channels};
    ov_shape_t shape = {4, dims};
    demand(physedge_bundle_entry(bundle, info.graph, &graph, &graph_bytes, &error), error.found);
    demand(ov_core_create(&core), "core");
    demand(ov_core_read_model_from_memory_buffer(core, graph, graph_bytes, NULL, &model), "model");
    demand(ov_core_compile_model(core, model, "CPU", 6, &compiled, "PERFORMANCE_HINT", "LATENCY", "INFERENCE_PRECISION_HINT", "f32",
                                 "INFERENCE_NUM_THREADS", arguments[4]),
           "compile");
    demand(ov_compiled_model_create_infer_request(compiled, &request), "request");
    demand(ov_tensor_create_from_host_ptr(U8, shape, grid, &input), "input");
    demand(ov_infer_request_set_input_tensor(request, input), "input");
    demand(physedge_net_prepare(net, &frame, grid, grid_bytes, &error), error.found);
    int frames = atoi(arguments[5]);
    for (int index = -10; index < frames; ++index) {
        frame.captured_ns = physedge_now_ns();
        double wall[3], cpu[3];
        wall[0] = milliseconds(CLOCK_MONOTONIC), cpu[0] = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
        demand(physedge_net_infer(net, &frame, &result, &error), error.found);
        wall[1] = milliseconds(CLOCK_MONOTONIC), cpu[1] = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
        demand(ov_infer_request_infer(request), "infer");
        wall[2] = milliseconds(CLOCK_MONOTONIC), cpu[2] = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
        if (index < 0) continue;
        printf("%.4f %.4f %.4f %.4f %.4f %.4f\n", wall[1] - wall[0], wall[2] - wall[1], cpu[1] - cpu[0], cpu[2] - cpu[1],
               result.stages.preprocess_ms, result.stages.postprocess_ms);
    }
    fprintf(stderr, "%s, our memory for frames %zu bytes\n", info.engine, info.arena_bytes);
    return 0;
}
