/* Stream raw frames from stdin through a bundle and print one JSON line for each.
 *
 *     ffmpeg -v error -i clip.mp4 -f rawvideo -pix_fmt rgb24 - | physedge_stream_frames net.physedge 384 288 [MASKS]
 *
 * Every frame is answered in order, as `physedge run` does with a file. MASKS takes the raw masks, one after the other.
 */
#include <physedge.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const physedge_error *error) {
    char sentence[1024];
    physedge_error_sentence(error, sentence, sizeof sentence);
    fprintf(stderr, "%s\n", sentence);
    return (int)error->status;
}

int main(int count, char **arguments) {
    if (count < 4)
        return fprintf(stderr, "usage: %s BUNDLE WIDTH HEIGHT [MASKS] < frames.rgb (engines: %s)\n", arguments[0], physedge_engines()), 2;
    physedge_error error = {PHYSEDGE_OK, "", "", "", ""};
    physedge_bundle *bundle = NULL;
    physedge_net *net = NULL;
    physedge_stream *stream = NULL;
    physedge_open_options open_options = physedge_open_defaults();
    physedge_stream_options stream_options = physedge_stream_defaults(0);
    physedge_net_info info;
    physedge_frame frame = {.format = PHYSEDGE_RGB, .width_px = (uint32_t)atoi(arguments[2]), .height_px = (uint32_t)atoi(arguments[3])};
    open_options.engine = getenv("PHYSEDGE_ENGINE") ? getenv("PHYSEDGE_ENGINE") : "auto";
    open_options.cache_folder = getenv("PHYSEDGE_CACHE");
    open_options.largest_width_px = frame.width_px, open_options.largest_height_px = frame.height_px;
    if (physedge_bundle_read(arguments[1], NULL, &bundle, &error) || physedge_net_open(bundle, &open_options, &net, &error))
        return fail(&error);
    physedge_bundle_free(bundle);
    physedge_net_describe(net, &info);
    stream_options.area_limit = info.area_limit;
    if (physedge_stream_create(&stream_options, &stream, &error)) return fail(&error);
    fprintf(stderr, "%s, %s, golden error %.3g, opened in %.0f + %.0f ms\n", info.engine, info.bundle_trust, info.golden_max_error,
            info.load_ms, info.golden_ms);
    size_t frame_bytes = (size_t)frame.width_px * frame.height_px * 3;
    uint8_t *pixels = malloc(frame_bytes);
    physedge_result result = {.mask = malloc(info.mask_bytes + 1), .mask_bytes = info.mask_bytes};
    FILE *masks = count > 4 ? fopen(arguments[4], "wb") : NULL;
    while (frame_bytes > 0 && fread(pixels, 1, frame_bytes, stdin) == frame_bytes) {
        physedge_look look;
        physedge_stream_frame taken = {.user = pixels, .frame_id = frame.frame_id, .captured_ns = physedge_now_ns()};
        frame.pixels = pixels, frame.captured_ns = taken.captured_ns;
        if (physedge_look_at(&frame, &look, &error) || physedge_stream_frame_in(stream, &taken, &look, taken.captured_ns, &error))
            return fail(&error);
        if (physedge_stream_take(stream, physedge_now_ns(), &taken)) {
            physedge_status status = physedge_net_infer(net, &frame, &result, &error);
            physedge_answer answer = {.fault = status ? error.found : NULL, .frame_id = result.frame_id, .finite = result.finite,
                                      .trust = result.trust, .trust_reason = result.trust_reason,
                                      .mask_points = info.mask_bytes, .foreground_points = result.foreground_points};
            physedge_stream_answered(stream, &answer, physedge_now_ns(), &error);
        }
        physedge_stream_item item;
        physedge_stream_event event;
        while (physedge_stream_next_item(stream, &item)) {
            physedge_region region = {0};
            if (item.answered && info.mask_bytes) physedge_net_region(net, &result, 1, &region, &error);
            printf("{\"frame_id\":%llu,\"signal\":\"%s\",\"answered\":%s,\"withdrawn\":\"%s\",\"trust\":\"%s\",\"age_ms\":%.3f,"
                   "\"preprocess_ms\":%.3f,\"inference_ms\":%.3f,\"area_fraction\":%.6g,\"area_change\":%.3g,\"box_px\":[%d,%d,%d,%d]}\n",
                   (unsigned long long)item.frame_id, physedge_signal_name(item.signal), item.answered ? "true" : "false",
                   physedge_withdrawal_name(item.withdrawn), physedge_trust_name(item.trust), result.age_ms,
                   result.stages.preprocess_ms, result.stages.inference_ms, region.area_fraction, item.area_change, region.left_px,
                   region.top_px, region.right_px, region.bottom_px);
            if (masks && item.answered) fwrite(result.mask, 1, info.mask_bytes, masks);
        }
        while (physedge_stream_next_event(stream, &event)) fprintf(stderr, "%s: %s\n", physedge_event_name(event.kind), event.text);
        ++frame.frame_id;
    }
    if (masks) fclose(masks);
    int status = physedge_stream_safe_reason(stream)[0] ? PHYSEDGE_SAFE_STATE : PHYSEDGE_OK;
    physedge_stream_free(stream);
    physedge_net_free(net);
    free(result.mask);
    free(pixels);
    return status;
}
