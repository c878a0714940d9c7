/* Every way to hold the C library wrongly that we could think of; each prints what came back. No way may be undefined:
 * the same program runs under the address, undefined-behaviour and thread sanitizers.
 *
 *     misuse BUNDLE CASE
 */
#include <physedge.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { width_px = 50, height_px = 40 };
static uint8_t pixels[width_px * height_px * 3];
static uint8_t mask[256 * 256];
static physedge_error error;

static void said(const char *what, physedge_status status) {
    printf("%s %d %s\n", what, (int)status, status == PHYSEDGE_OK ? "ok" : error.identifier);
    memset(&error, 0, sizeof error);
}

static physedge_bundle *read_bundle(const char *path) {
    physedge_bundle *bundle = NULL;
    if (physedge_bundle_read(path, NULL, &bundle, &error) != PHYSEDGE_OK) exit(90);
    return bundle;
}

static physedge_net *open_net(const char *path) {
    physedge_bundle *bundle = read_bundle(path);
    physedge_open_options options = physedge_open_defaults();
    physedge_net *net = NULL;
    options.engine = "fake";
    if (physedge_net_open(bundle, &options, &net, &error) != PHYSEDGE_OK) exit(91);
    physedge_bundle_free(bundle);
    return net;
}

static physedge_stream *open_stream(void) {
    physedge_stream_options options = physedge_stream_defaults(1);
    physedge_stream *stream = NULL;
    if (physedge_stream_create(&options, &stream, &error) != PHYSEDGE_OK) exit(92);
    return stream;
}

static physedge_frame a_frame(void) {
    physedge_frame frame = {0};
    frame.format = PHYSEDGE_RGB;
    frame.width_px = width_px;
    frame.height_px = height_px;
    frame.pixels = pixels;
    return frame;
}

static physedge_result a_result(void) {
    physedge_result result = {0};
    result.mask = mask;
    result.mask_bytes = sizeof mask;
    return result;
}

/* Every function of a stream, with whatever it is given. */
static void call_stream(physedge_stream *stream, void *memory) {
    physedge_stream_frame *frame = memory;
    physedge_stream_item *item = memory;
    physedge_stream_event *event = memory;
    physedge_look look = {0};
    physedge_stream_frame given = {0};
    physedge_answer answer = {0};
    printf("has_room %d\n", physedge_stream_has_room(stream));
    printf("is_idle %d\n", physedge_stream_is_idle(stream));
    printf("safe_reason %s\n", physedge_stream_safe_reason(stream)[0] != '\0' ? "said" : "none");
    printf("source_lag %lld\n", (long long)physedge_stream_source_lag_ns(stream));
    said("frame_in", physedge_stream_frame_in(stream, &given, &look, 1, &error));
    printf("take %d\n", physedge_stream_take(stream, 2, frame));
    said("answered", physedge_stream_answered(stream, &answer, 3, &error));
    physedge_stream_tick(stream, 4);
    physedge_stream_lost(stream, NULL, 5);
    physedge_stream_fail(stream, NULL, 6);
    physedge_stream_note(stream, PHYSEDGE_EVENT_SINK, NULL, 7);
    physedge_stream_note(stream, (physedge_event_kind)77, "x", 7);
    printf("next_item %d\n", physedge_stream_next_item(stream, item));
    printf("next_event %d\n", physedge_stream_next_event(stream, event));
}

static void null_everywhere(const char *path) {
    physedge_frame frame = a_frame();
    physedge_result result = a_result();
    physedge_bundle_info bundle_info;
    physedge_net_info net_info;
    physedge_region region;
    physedge_look look;
    const void *data;
    size_t size;
    char text[8];
    (void)path;
    physedge_error_sentence(NULL, text, sizeof text);
    physedge_error_sentence(&error, NULL, 9);
    said("trust_create", physedge_trust_create(NULL, &error));
    said("add_key", physedge_trust_add_key(NULL, NULL, NULL, NULL, &error));
    said("add_key_file", physedge_trust_add_key_file(NULL, NULL, NULL, &error));
    said("add_revocations", physedge_trust_add_revocations(NULL, NULL, &error));
    said("add_device", physedge_trust_add_device(NULL, NULL, &error));
    said("set_today", physedge_trust_set_today(NULL, NULL, &error));
    said("bundle_read", physedge_bundle_read(NULL, NULL, NULL, &error));
    said("bundle_read_memory", physedge_bundle_read_memory(NULL, 9, NULL, NULL, NULL, &error));
    said("bundle_entry", physedge_bundle_entry(NULL, "manifest.json", &data, &size, &error));
    physedge_bundle_describe(NULL, &bundle_info);
    physedge_bundle_describe(NULL, NULL);
    printf("bundle_name '%s'\n", bundle_info.name);
    said("net_open", physedge_net_open(NULL, NULL, NULL, &error));
    physedge_net_describe(NULL, &net_info);
    physedge_net_describe(NULL, NULL);
    printf("outputs %zu\n", net_info.outputs);
    said("infer", physedge_net_infer(NULL, &frame, &result, &error));
    said("prepare", physedge_net_prepare(NULL, &frame, mask, sizeof mask, &error));
    said("to_frame", physedge_net_to_frame(NULL, mask, 9, 9, mask, 9, &error));
    said("frame_mask", physedge_net_frame_mask(NULL, &result, mask, 9, &error));
    said("region", physedge_net_region(NULL, &result, 1, &region, &error));
    printf("answer_of %s\n", physedge_answer_of(NULL, PHYSEDGE_OK, NULL, NULL).fault);
    said("look_at", physedge_look_at(NULL, &look, &error));
    said("stream_create", physedge_stream_create(NULL, NULL, &error));
    said("update_good", physedge_update_good(NULL, NULL, NULL, NULL, &error));
    call_stream(NULL, NULL);
    said("without an error", physedge_net_infer(NULL, NULL, NULL, NULL));
    physedge_trust_free(NULL);
    physedge_bundle_free(NULL);
    physedge_net_free(NULL);
    physedge_stream_free(NULL);
}

static void null_memory_of_a_stream(const char *path) {
    physedge_stream *stream = open_stream();
    (void)path;
    call_stream(stream, NULL);
    physedge_stream_free(stream);
}

static void freed_twice(const char *path) {
    physedge_frame frame = a_frame();
    physedge_result result = a_result();
    physedge_bundle *bundle = read_bundle(path);
    physedge_net *net = open_net(path), *other;
    physedge_stream *stream = open_stream();
    physedge_trust *trust = NULL;
    physedge_open_options options = physedge_open_defaults();
    physedge_trust_create(&trust, &error);
    for (int time = 0; time < 3; ++time) {
        physedge_bundle_free(bundle);
        physedge_net_free(net);
        physedge_stream_free(stream);
        physedge_trust_free(trust);
    }
    other = open_net(path);
    physedge_net_free(net);
    said("another network lives on", physedge_net_infer(other, &frame, &result, &error));
    said("infer", physedge_net_infer(net, &frame, &result, &error));
    said("net_open", physedge_net_open(bundle, &options, &net, &error));
    said("add_revocations", physedge_trust_add_revocations(trust, "x", &error));
    said("bundle_read", physedge_bundle_read(path, trust, &bundle, &error));
    printf("tick ");
    physedge_stream_tick(stream, 5);
    printf("%d\n", physedge_stream_has_room(stream));
    physedge_net_free(other);
    for (int turn = 0; turn < 5000; ++turn) { /* the shells of the first ones go now, each once */
        physedge_trust_create(&trust, &error);
        physedge_trust_free(trust);
    }
}

static void another_kind(const char *path) {
    physedge_frame frame = a_frame();
    physedge_result result = a_result();
    physedge_bundle *bundle = read_bundle(path);
    physedge_net *net = open_net(path);
    said("a bundle as a network", physedge_net_infer((physedge_net *)(void *)bundle, &frame, &result, &error));
    printf("a network as a stream %d\n", physedge_stream_has_room((physedge_stream *)(void *)net));
    physedge_stream_free((physedge_stream *)(void *)net);
    said("it lives on", physedge_net_infer(net, &frame, &result, &error));
    physedge_net_free(net);
    physedge_bundle_free(bundle);
}

static void wrong_sizes(const char *path) {
    physedge_net *net = open_net(path);
    physedge_result result = a_result();
    physedge_region region;
    physedge_look look;
    float few[3] = {0};
    struct {
        const char *name;
        physedge_frame frame;
    } cases[10];
    size_t count = 0;
    for (; count < 10; ++count) cases[count].frame = a_frame();
    cases[0].name = "no pixels", cases[0].frame.pixels = NULL;
    cases[1].name = "no width", cases[1].frame.width_px = 0;
    cases[2].name = "no height", cases[2].frame.height_px = 0;
    cases[3].name = "stride below width", cases[3].frame.stride_bytes = width_px;
    cases[4].name = "a huge width", cases[4].frame.width_px = UINT32_MAX;
    cases[5].name = "a huge height", cases[5].frame.height_px = UINT32_MAX;
    cases[6].name = "larger than opened for", cases[6].frame.width_px = 4000, cases[6].frame.height_px = 4000;
    cases[7].name = "a format that is none", cases[7].frame.format = (physedge_format)99;
    cases[8].name = "odd sides of NV12", cases[8].frame.format = PHYSEDGE_NV12, cases[8].frame.width_px = 31;
    cases[9].name = "voltages", cases[9].frame.format = PHYSEDGE_VOLTAGES, cases[9].frame.voltages = few;
    for (size_t index = 0; index < count; ++index) {
        said(cases[index].name, physedge_net_infer(net, &cases[index].frame, &result, &error));
        if (index != 6) said("  look", physedge_look_at(&cases[index].frame, &look, &error));
    }
    physedge_frame frame = a_frame();
    frame.format = PHYSEDGE_VOLTAGES, frame.voltages = few, frame.voltage_count = SIZE_MAX;
    said("a huge number of voltages", physedge_look_at(&frame, &look, &error));
    frame = a_frame();
    result.mask_bytes = 5;
    said("a small mask", physedge_net_infer(net, &frame, &result, &error));
    result.frame_width_px = width_px, result.frame_height_px = height_px;
    said("  its region", physedge_net_region(net, &result, 1, &region, &error));
    result = a_result();
    result.output[0] = few, result.output_floats[0] = 3;
    said("a small output", physedge_net_infer(net, &frame, &result, &error));
    said("a small grid", physedge_net_prepare(net, &frame, mask, 7, &error));
    said("no frame to go to", physedge_net_to_frame(net, mask, 0, 0, mask, 0, &error));
    said("a huge frame to go to", physedge_net_to_frame(net, mask, 40000, 2, mask, 0, &error));
    said("a stride below its width", physedge_net_to_frame(net, mask, 20, 2, mask, 3, &error));
    static float probability[1 << 16];
    result = a_result();
    result.output[0] = probability, result.output_floats[0] = sizeof probability / sizeof *probability;
    result.frame_width_px = UINT32_MAX, result.frame_height_px = 1;
    said("a mask that nobody filled in", physedge_net_frame_mask(net, &result, mask, 0, &error));
    said("a result that nobody filled in", physedge_net_region(net, &result, 1, &region, &error));
    result = a_result();
    said("all is well", physedge_net_infer(net, &frame, &result, &error));
    physedge_net_free(net);
}

static void wrong_options(const char *path) {
    physedge_bundle *bundle = read_bundle(path);
    physedge_net *net = NULL;
    physedge_open_options options = physedge_open_defaults();
    physedge_stream_options limits = physedge_stream_defaults(1);
    options.engine = "none such";
    said("an engine that is none", physedge_net_open(bundle, &options, &net, &error));
    options = physedge_open_defaults();
    options.engine = "fake", options.largest_width_px = 0;
    said("frames without width", physedge_net_open(bundle, &options, &net, &error));
    physedge_net_free(net);
    options.largest_width_px = UINT32_MAX;
    said("huge frames", physedge_net_open(bundle, &options, &net, &error));
    memset(&options, 0, sizeof options);
    options.engine = "fake";
    said("all options 0", physedge_net_open(bundle, &options, &net, &error));
    physedge_net_free(net);
    physedge_bundle_free(bundle);
    limits.drop = (physedge_drop)99;
    physedge_stream *stream = NULL;
    said("a drop that is none", physedge_stream_create(&limits, &stream, &error));
    limits = physedge_stream_defaults(1), limits.dark_share = 0.0 / 0.0;
    said("a share that is no number", physedge_stream_create(&limits, &stream, &error));
    limits = physedge_stream_defaults(1), limits.hang_ns = -5;
    said("a time below 0", physedge_stream_create(&limits, &stream, &error));
    physedge_stream_free(stream);
}

/* Threads that all use one handle, and one that frees it in the middle of that. */
static physedge_net *shared_net;
static physedge_stream *shared_stream;
static atomic_int answers, refusals, started;

static void *use_it(void *unused) {
    physedge_error own;
    uint8_t own_mask[1024];
    physedge_frame frame = a_frame();
    physedge_stream_frame given = {0};
    physedge_stream_item item;
    physedge_look look = {0};
    (void)unused;
    atomic_fetch_add(&started, 1);
    for (int round = 0; round < 400; ++round) {
        physedge_result result = {0};
        result.mask = own_mask, result.mask_bytes = sizeof own_mask;
        physedge_status status = physedge_net_infer(shared_net, &frame, &result, &own);
        if (status == PHYSEDGE_OK)
            atomic_fetch_add(&answers, 1);
        else if (status == PHYSEDGE_USAGE)
            atomic_fetch_add(&refusals, 1);
        else
            exit(93);
        physedge_stream_frame_in(shared_stream, &given, &look, round, &own);
        physedge_stream_tick(shared_stream, round);
        while (physedge_stream_next_item(shared_stream, &item)) continue;
    }
    return NULL;
}

static void threads(const char *path, int is_freed) {
    pthread_t workers[4];
    shared_net = open_net(path);
    shared_stream = open_stream();
    for (int index = 0; index < 4; ++index) pthread_create(&workers[index], NULL, use_it, NULL);
    while (atomic_load(&started) < 4 || (is_freed && atomic_load(&answers) < 20)) continue;
    if (is_freed) {
        physedge_net_free(shared_net);
        physedge_stream_free(shared_stream);
    }
    for (int index = 0; index < 4; ++index) pthread_join(workers[index], NULL);
    printf("calls %d\n", atomic_load(&answers) + atomic_load(&refusals));
    printf("answers %s\n", atomic_load(&answers) > 0 ? "some" : "none");
    physedge_net_free(shared_net);
    physedge_stream_free(shared_stream);
}

static void two_threads(const char *path) { threads(path, 0); }
static void free_while_in_use(const char *path) { threads(path, 1); }

static void after_a_fork(const char *path) {
    physedge_net *net = open_net(path);
    physedge_frame frame = a_frame();
    physedge_result result = a_result();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        said("the parent's network", physedge_net_infer(net, &frame, &result, &error));
        physedge_net_free(net);
        net = open_net(path);
        said("its own", physedge_net_infer(net, &frame, &result, &error));
        physedge_net_free(net);
        fflush(stdout);
        _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    printf("child %d\n", status);
    said("the parent", physedge_net_infer(net, &frame, &result, &error));
    physedge_net_free(net);
}

static int give_up(void *context, physedge_stage stage) {
    (void)context;
    return stage == PHYSEDGE_STAGE_ENGINE;
}

static void free_what_hangs(const char *path) {
    physedge_bundle *bundle = read_bundle(path);
    physedge_open_options options = physedge_open_defaults();
    physedge_net *net = NULL;
    physedge_frame frame = a_frame();
    physedge_result result = a_result();
    options.engine = "fake", options.watchdog = give_up, options.hang_ms = 1;
    said("open", physedge_net_open(bundle, &options, &net, &error));
    said("the hook gives up", physedge_net_infer(net, &frame, &result, &error));
    said("and later", physedge_net_infer(net, &frame, &result, &error));
    physedge_net_free(net);
    physedge_bundle_free(bundle);
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        void (*run)(const char *path);
    } cases[] = {
        {"null", null_everywhere},        {"null-memory", null_memory_of_a_stream},
        {"freed-twice", freed_twice},     {"another-kind", another_kind},
        {"wrong-sizes", wrong_sizes},     {"wrong-options", wrong_options},
        {"two-threads", two_threads},     {"free-while-in-use", free_while_in_use},
        {"fork", after_a_fork},           {"hang", free_what_hangs},
    };
    if (count != 3) return 2;
    for (size_t index = 0; index < sizeof cases / sizeof *cases; ++index)
        if (strcmp(cases[index].name, words[2]) == 0) return cases[index].run(words[1]), 0;
    return 2;
}
