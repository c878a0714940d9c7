/* Frames through network and stream: what they take from the heap and from the stack. */
#include <physedge.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void allocation_hook_start(void);
uint64_t allocation_hook_stop(uint64_t *ours);

/* The frames run in a thread on a stack of ours, painted before: what lost its paint was used. */
enum { stack_bytes = 256 * 1024, paint = 0xA5, width_px = 1920, height_px = 1080 };
static unsigned char stack[stack_bytes] __attribute__((aligned(4096)));

struct run {
    physedge_net *net;
    physedge_stream *stream;
    physedge_result result;
    uint8_t *pixels;
    int frames;
    uint64_t ours, all;
};

static void one_frame(physedge_net *net, physedge_stream *stream, physedge_frame *frame, physedge_result *result, int64_t now_ns) {
    physedge_error error;
    physedge_look look;
    physedge_stream_frame given = {0}, taken;
    physedge_stream_item item;
    physedge_stream_event event;
    given.frame_id = frame->frame_id, given.captured_ns = now_ns;
    physedge_look_at(frame, &look, &error);
    physedge_stream_frame_in(stream, &given, &look, now_ns, &error);
    if (physedge_stream_take(stream, now_ns, &taken)) {
        int status = physedge_net_infer(net, frame, result, &error);
        physedge_answer answer = {0};
        answer.fault = status ? error.found : NULL;
        answer.frame_id = taken.frame_id, answer.finite = result->finite, answer.trust = result->trust;
        answer.trust_reason = result->trust_reason;
        physedge_stream_answered(stream, &answer, now_ns + 1000000, &error);
    }
    physedge_stream_tick(stream, now_ns + 2000000);
    while (physedge_stream_next_item(stream, &item)) continue;
    while (physedge_stream_next_event(stream, &event)) continue;
}

static void *run_frames(void *context) {
    struct run *run = context;
    for (int index = 0; index < run->frames; ++index) {
        /* sizes and formats change from frame to frame */
        physedge_frame frame = {0};
        frame.format = (physedge_format)(index % 4);
        frame.width_px = index % 3 ? 640 : width_px, frame.height_px = index % 5 ? 480 : height_px;
        frame.pixels = run->pixels;
        frame.frame_id = (uint64_t)index;
        memset(run->pixels, 40 + index % 100, 5000);
        uint64_t from_us;
        allocation_hook_start();
        one_frame(run->net, run->stream, &frame, &run->result, (int64_t)index * 33000000);
        run->all += allocation_hook_stop(&from_us);
        run->ours += from_us;
    }
    return NULL;
}

static void *do_nothing(void *context) { return context; }

static size_t used_by(void *(*work)(void *), void *context) {
    pthread_t thread;
    pthread_attr_t attributes;
    size_t unused = 0;
    memset(stack, paint, sizeof stack);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, sizeof stack);
    if (pthread_create(&thread, &attributes, work, context)) exit(1);
    pthread_join(thread, NULL);
    while (unused < sizeof stack && stack[unused] == paint) ++unused;
    return sizeof stack - unused;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    physedge_error error;
    physedge_bundle *bundle = NULL;
    physedge_net_info info;
    struct run run = {0};
    physedge_open_options options = physedge_open_defaults();
    physedge_stream_options stream_options = physedge_stream_defaults(1);
    options.engine = arguments[2];
    options.cache_folder = getenv("PHYSEDGE_CACHE");
    options.threads = 1;
    run.frames = atoi(arguments[3]);
    if (physedge_bundle_read(arguments[1], NULL, &bundle, &error) || physedge_net_open(bundle, &options, &run.net, &error) ||
        physedge_stream_create(&stream_options, &run.stream, &error)) {
        fprintf(stderr, "%s %s\n", error.identifier, error.found);
        return 1;
    }
    physedge_bundle_free(bundle);
    physedge_net_describe(run.net, &info);
    run.pixels = malloc(width_px * height_px * 3);
    run.result.mask = malloc(info.mask_bytes), run.result.mask_bytes = info.mask_bytes;
    size_t used = used_by(run_frames, &run) - used_by(do_nothing, NULL);
    printf("{\"ours\":%llu,\"all\":%llu,\"stack_bytes\":%zu,\"arena_bytes\":%zu}\n", (unsigned long long)run.ours,
           (unsigned long long)run.all, used, info.arena_bytes);
    physedge_stream_free(run.stream);
    physedge_net_free(run.net);
    free(run.result.mask);
    free(run.pixels);
    return 0;
}
