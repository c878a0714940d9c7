/* Stream raw frames from stdin through a bundle, in order, as `physedge run` does with a file; a line of JSON for each.
 *     ffmpeg -v error -i clip.mp4 -f rawvideo -pix_fmt rgb24 - | physedge_stream_frames net.physedge 384 288 [MASKS]
 * MASKS takes the raw masks, one after the other. */
#include <physedge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void demand(physedge_status status, const physedge_error *error) {
    char sentence[1024];
    if (status == PHYSEDGE_OK) return;
    physedge_error_sentence(error, sentence, sizeof sentence);
    fprintf(stderr, "%s\n", sentence);
    exit((int)status);
}

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "usage: %s BUNDLE WIDTH HEIGHT [MASKS] (engines: %s)\n", arguments[0], physedge_engines()), 2;
    physedge_error error;
    physedge_bundle *bundle = NULL;
    physedge_net *net = NULL;
    physedge_stream *stream = NULL;
    physedge_net_info info;
    physedge_frame frame = {.format = PHYSEDGE_RGB, .width_px = (uint32_t)atoi(arguments[2]), .height_px = (uint32_t)atoi(arguments[3])};
    physedge_open_options options = physedge_open_defaults();
    physedge_stream_options decisions = physedge_stream_defaults(0);
    options.engine = getenv("PHYSEDGE_ENGINE"), options.cache_folder = getenv("PHYSEDGE_CACHE");
    options.largest_width_px = frame.width_px, options.largest_height_px = frame.height_px;
    demand(physedge_bundle_read(arguments[1], NULL, &bundle, &error), &error);
    demand(physedge_net_open(bundle, &options, &net, &error), &error);
    physedge_net_describe(net, &info), physedge_bundle_free(bundle);
    fprintf(stderr, "%s, %s, golden error %.3g, %zu bytes for frames\n", info.engine, info.bundle_trust, info.golden_max_error, info.arena_bytes);
    decisions.area_limit = info.area_limit;
    demand(physedge_stream_create(&decisions, &stream, &error), &error);
    size_t frame_bytes = (size_t)frame.width_px * frame.height_px * 3;
    uint8_t *pixels = malloc(frame_bytes);
    physedge_result result = {.mask = malloc(info.mask_bytes + 1), .mask_bytes = info.mask_bytes};
    for (size_t index = 0; index < info.outputs; ++index) {  // the mask at the frame's size is made of the probability
        if (strcmp(info.output[index].name, "probability") != 0) continue;
        result.output[index] = malloc((info.output[index].floats + 1) * sizeof(float)), result.output_floats[index] = info.output[index].floats;
    }
    FILE *masks = count > 4 ? fopen(arguments[4], "wb") : NULL;
    for (frame.pixels = pixels; frame_bytes > 0 && fread(pixels, 1, frame_bytes, stdin) == frame_bytes; ++frame.frame_id) {
        physedge_look look;
        physedge_stream_frame taken = {.frame_id = frame.frame_id, .captured_ns = frame.captured_ns = physedge_now_ns()};
        demand(physedge_look_at(&frame, &look, &error), &error);
        demand(physedge_stream_frame_in(stream, &taken, &look, taken.captured_ns, &error), &error);
        if (physedge_stream_take(stream, physedge_now_ns(), &taken)) {
            physedge_answer answer = physedge_answer_of(net, physedge_net_infer(net, &frame, &result, &error), &result, &error);
            demand(physedge_stream_answered(stream, &answer, physedge_now_ns(), &error), &error);
        }
        for (physedge_stream_item item; physedge_stream_next_item(stream, &item);) {
            physedge_region region = {0};
            if (item.answered && info.mask_bytes) physedge_net_region(net, &result, 1, &region, &error);
            printf("{\"frame_id\":%llu,\"signal\":\"%s\",\"answered\":%s,\"withdrawn\":\"%s\",\"trust\":\"%s\",\"age_ms\":%.3f,"
                   "\"area_fraction\":%.6g,\"box_px\":[%d,%d,%d,%d]}\n", (unsigned long long)item.frame_id, physedge_signal_name(item.signal),
                   item.answered ? "true" : "false", physedge_withdrawal_name(item.withdrawn), physedge_trust_name(item.trust), result.age_ms,
                   region.area_fraction, region.left_px, region.top_px, region.right_px, region.bottom_px);
            if (masks && item.answered) fwrite(result.mask, 1, info.mask_bytes, masks);
        }
    }
    physedge_status status = physedge_stream_safe_reason(stream)[0] ? PHYSEDGE_SAFE_STATE : PHYSEDGE_OK;
    physedge_stream_free(stream), physedge_net_free(net), free(result.mask), free(pixels);
    for (size_t index = 0; index < info.outputs; ++index) free(result.output[index]);
    return status;
}
