/* physedge.h - the runtime of a physedge bundle behind a C ABI, for device firmware without Python.
 *
 * The whole use, from one file to one answer:
 *
 *     physedge_error error;
 *     physedge_bundle *bundle = NULL;
 *     physedge_net *net = NULL;
 *     physedge_open_options options = physedge_open_defaults();
 *     physedge_net_info info;
 *     physedge_result result = {0};
 *     physedge_frame frame = {0};
 *
 *     if (physedge_bundle_read("polyp.physedge", NULL, &bundle, &error) != PHYSEDGE_OK) return report(&error);
 *     if (physedge_net_open(bundle, &options, &net, &error) != PHYSEDGE_OK) return report(&error);
 *     physedge_bundle_free(bundle);
 *     physedge_net_describe(net, &info);
 *     result.mask = malloc(info.mask_bytes);
 *     result.mask_bytes = info.mask_bytes;
 *     frame.format = PHYSEDGE_RGB;
 *     frame.width_px = 640;
 *     frame.height_px = 480;
 *     frame.pixels = pixels;
 *     frame.captured_ns = physedge_now_ns();
 *     if (physedge_net_infer(net, &frame, &result, &error) != PHYSEDGE_OK) return report(&error);
 *     if (result.trust != PHYSEDGE_TRUST_VOID) show(result.mask, info.width_px, info.height_px);
 *     free(result.mask);
 *     physedge_net_free(net);
 *
 * Rules that hold for every function
 *   Status    Whatever can fail returns a physedge_status and, where `error` is not NULL, fills it in. Statuses are the
 *             exit statuses of the command line; identifiers (PE-BUNDLE-010 ...) are those of docs/errors.
 *   Memory    A handle is made by one function and given back by its `_free`; `_free(NULL)` does nothing. Pixels, masks
 *             and outputs are the caller's. A `const char *` that is handed out lives as long as its handle.
 *   Misuse    NULL where a value is needed is PE-NATIVE-001. A handle that was freed, or is of another kind, is
 *             PE-NATIVE-008, and freeing it again does nothing, until 4,096 handles were freed after it. A network that
 *             was opened before a fork is PE-NATIVE-010 in the child. A function that returns no status does nothing
 *             then. Pointers that never were a handle, and memory shorter than was said, cannot be told.
 *   Threads   No global state but a list of freed handles. (With TensorRT compiled in there is one logger for the whole process, as TensorRT wants
 *             it; it has no state either: an error's text is kept for the thread that made it.) Different handles may
 *             be used in different threads at once. One handle belongs to one thread at a time; a second one that calls
 *             in at the same moment gets PE-NATIVE-002 and nothing happens. A handle may be freed while another thread
 *             is inside: it goes with the end of that call. physedge_net_free waits for an engine that hangs for 1 s at
 *             most; then the engine's memory is given up.
 *   Time      Nanoseconds of a monotonic clock, handed in by the caller; physedge_now_ns is one.
 *   Per frame physedge_net_infer and every physedge_stream function allocate nothing, use less than 16 KiB of stack
 *             (the engine's own threads and memory are counted apart), and wait for nothing but the engine, for
 *             `hang_ms` at most.
 */
#ifndef PHYSEDGE_H
#define PHYSEDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PHYSEDGE_API __attribute__((visibility("default")))
/* A caller in C may hand in any number; without this C++ may assume that it is one of those listed. */
#ifdef __cplusplus
#define PHYSEDGE_ANY_INT : int
#else
#define PHYSEDGE_ANY_INT
#endif

/* ---- Version ------------------------------------------------------------------------------------------------- */

#define PHYSEDGE_ABI_VERSION 1

/* PHYSEDGE_ABI_VERSION of the library; another one than the header's must not be used. */
PHYSEDGE_API uint32_t physedge_abi_version(void);
/* Version of physedge, for example "0.1.0". */
PHYSEDGE_API const char *physedge_version(void);
/* Engines that were compiled in, separated by spaces, for example "openvino fake". */
PHYSEDGE_API const char *physedge_engines(void);

/* ---- Errors -------------------------------------------------------------------------------------------------- */

typedef enum physedge_status PHYSEDGE_ANY_INT {
    PHYSEDGE_OK = 0,
    PHYSEDGE_GATE_FAILED = 1,  /* the verdict on the bundle is not ACCEPT and nobody allowed it */
    PHYSEDGE_USAGE = 2,        /* an argument, an option or a file that cannot be used */
    PHYSEDGE_ENVIRONMENT = 3,  /* an engine that is not here or refuses the graph; no memory */
    PHYSEDGE_INTEGRITY = 4,    /* a bundle, signature, hash or golden frame that does not hold */
    PHYSEDGE_SAFE_STATE = 7,   /* the engine has hung or failed: no more answers from this handle */
    PHYSEDGE_BUG = 70          /* an assumption of this library does not hold; please report it */
} physedge_status;

/* One error of the world: "IDENTIFIER: FOUND; expected EXPECTED; NEXT_STEP." Texts are UTF-8 and end in a zero byte;
 * longer ones are cut. */
typedef struct physedge_error {
    physedge_status status;
    char identifier[16];
    char found[352];
    char expected[192];
    char next_step[192];
} physedge_error;

/* Write the sentence; at most `size` bytes with the final zero byte. */
PHYSEDGE_API void physedge_error_sentence(const physedge_error *error, char *text, size_t size);
/* "ok", "gate failed", "usage", ... */
PHYSEDGE_API const char *physedge_status_name(physedge_status status);

/* ---- Whom to believe ----------------------------------------------------------------------------------------- */

typedef struct physedge_trust physedge_trust;

/* Believes anybody until a key is added; from then on one of the keys must have signed. */
PHYSEDGE_API physedge_status physedge_trust_create(physedge_trust **trust, physedge_error *error);
/* Add the 32 bytes of an Ed25519 key. `not_after` is its last day "YYYY-MM-DD" (UTC), or NULL for ever. PE-SIGN-002 for
 * a key under which anybody could sign. */
PHYSEDGE_API physedge_status physedge_trust_add_key(physedge_trust *trust, const char *name,
                                                    const uint8_t public_key[32], const char *not_after,
                                                    physedge_error *error);
/* Add NAME.pub, PEM. It, every folder and every link on the way to it belong to root or to this user, and nobody else
 * may write to them. PE-SIGN-001, 002, 004. */
PHYSEDGE_API physedge_status physedge_trust_add_key_file(physedge_trust *trust, const char *path, const char *not_after,
                                                         physedge_error *error);
/* Add a list of revocations: lines "key HEX64" and "bundle HEX64". PE-SIGN-001, 004, 013. */
PHYSEDGE_API physedge_status physedge_trust_add_revocations(physedge_trust *trust, const char *path,
                                                            physedge_error *error);
/* Add keys and revocations of a device.toml. PE-SIGN-004, 013, 014. */
PHYSEDGE_API physedge_status physedge_trust_add_device(physedge_trust *trust, const char *path, physedge_error *error);
/* Judge expiry by this day "YYYY-MM-DD" instead of the machine's clock. */
PHYSEDGE_API physedge_status physedge_trust_set_today(physedge_trust *trust, const char *today, physedge_error *error);
PHYSEDGE_API void physedge_trust_free(physedge_trust *trust);

/* ---- Bundle -------------------------------------------------------------------------------------------------- */

typedef struct physedge_bundle physedge_bundle;

typedef struct physedge_bundle_info {
    const char *name;
    const char *version;
    const char *task;             /* "segmentation", "classification" or "reconstruction" */
    const char *verdict;          /* "ACCEPT", "REJECT", "INCONCLUSIVE" or "NOT RUN" */
    const char *target;           /* the engine that the export was asked for */
    const char *trust;            /* who vouches: "unsigned", "signature not checked", "signed by NAME (KEY)" */
    const char *sha256;           /* of the whole file, hexadecimal */
    const char *manifest_sha256;  /* stays the same when the bundle is signed */
    uint64_t release;
} physedge_bundle_info;

/* Read a bundle with distrust: size, zip form, names, canonical bytes, signature, manifest, hash of every entry.
 * Where `trust` is NULL the device's configuration counts as in Python: /etc/physedge/device.toml; only where nothing lies
 * there, or it allows that, the file that PHYSEDGE_DEVICE names; else anybody. PE-BUNDLE-001 to 015, PE-SIGN-004 to 010,
 * 013, 014, 016. */
PHYSEDGE_API physedge_status physedge_bundle_read(const char *path, const physedge_trust *trust,
                                                  physedge_bundle **bundle, physedge_error *error);
/* The same from memory, which must stay as it is until the bundle is freed; `name` is for messages. */
PHYSEDGE_API physedge_status physedge_bundle_read_memory(const void *data, size_t data_bytes, const char *name,
                                                         const physedge_trust *trust, physedge_bundle **bundle,
                                                         physedge_error *error);
PHYSEDGE_API void physedge_bundle_describe(const physedge_bundle *bundle, physedge_bundle_info *info);
/* The bytes of an entry, owned by the bundle. PE-NATIVE-001 where there is none of that name. */
PHYSEDGE_API physedge_status physedge_bundle_entry(const physedge_bundle *bundle, const char *name, const void **data,
                                                   size_t *data_bytes, physedge_error *error);
PHYSEDGE_API void physedge_bundle_free(physedge_bundle *bundle);

/* ---- Open ---------------------------------------------------------------------------------------------------- */

typedef struct physedge_net physedge_net;

typedef enum physedge_stage PHYSEDGE_ANY_INT {
    PHYSEDGE_STAGE_OPEN,        /* between the steps of physedge_net_open */
    PHYSEDGE_STAGE_PREPROCESS,  /* a frame was taken up */
    PHYSEDGE_STAGE_ENGINE,      /* the engine was asked; again every `watchdog_ms` while it works */
    PHYSEDGE_STAGE_DONE         /* the answer is there */
} physedge_stage;

/* Called in the thread of the caller. The firmware feeds its watchdog here. What is not 0 ends the waiting for the
 * engine: the call returns PE-NATIVE-004, and the handle answers no more. */
typedef int (*physedge_watchdog)(void *context, physedge_stage stage);

typedef struct physedge_open_options {
    const char *engine;             /* NULL or "auto", or one of physedge_engines() */
    const char *precision;          /* NULL for what ships, or "fp32", "fp16", "int8" */
    const char *cache_folder;       /* where an engine may keep what it compiled and finds what `physedge export --build`
                                       built, as PHYSEDGE_CACHE in Python; NULL for nowhere */
    uint32_t threads;               /* of the engine; 0 for its own choice */
    uint32_t largest_width_px;      /* frames may be up to this large; memory is taken for it once */
    uint32_t largest_height_px;
    uint32_t hang_ms;               /* an engine that works on one frame for longer has hung */
    uint32_t watchdog_ms;           /* the hook is called this often while the engine works */
    int allow_rejected;             /* open although the verdict is REJECT or INCONCLUSIVE */
    int only_as_exported;           /* refuse (PE-BUNDLE-020) unless physedge_net_info.computes_as_exported is 1 */
    physedge_watchdog watchdog;     /* or NULL */
    void *watchdog_context;
} physedge_open_options;

/* engine "auto", frames up to 1920x1088, hang 5000 ms, watchdog 100 ms, everything else 0. */
PHYSEDGE_API physedge_open_options physedge_open_defaults(void);

#define PHYSEDGE_MOST_OUTPUTS 16
#define PHYSEDGE_MOST_AXES 6

typedef enum physedge_task PHYSEDGE_ANY_INT {
    PHYSEDGE_SEGMENTATION,
    PHYSEDGE_CLASSIFICATION,
    PHYSEDGE_RECONSTRUCTION
} physedge_task;

typedef struct physedge_output_info {
    const char *name;  /* "probability" or "image" is the answer; the others are maps and parameters */
    const char *unit;
    size_t rank;
    size_t shape[PHYSEDGE_MOST_AXES];  /* without a batch axis */
    size_t floats;                     /* product of the shape */
} physedge_output_info;

typedef struct physedge_net_info {
    physedge_task task;
    const char *engine;          /* fingerprint: name, version, start of the graph's hash */
    const char *engine_name;
    const char *graph;           /* entry of the bundle that runs */
    const char *precision;
    const char *bundle_trust;
    uint32_t width_px;           /* of the network's grid; 0 for voltages */
    uint32_t height_px;
    uint32_t channels;
    uint32_t voltages;           /* in a frame; 0 for pictures */
    uint32_t voltage_frames;     /* 2 where the frame of the body at rest is handed in first, then that of now */
    size_t mask_bytes;           /* width_px * height_px of a segmentation, else 0 */
    size_t outputs;
    physedge_output_info output[PHYSEDGE_MOST_OUTPUTS];
    size_t classes;
    const char *const *class_names;
    size_t arena_bytes;          /* what this library took for frames, once; the engine's memory is its own */
    size_t golden_frames;        /* replayed at opening; 0 on the engine "fake" */
    double golden_mean_error;    /* largest over the golden frames, against full precision */
    double golden_max_error;
    int computes_as_exported;    /* 1: as at export, float rounding aside. 0: otherwise: another engine version, another
                                    processor, or a fault, within the bounds against full precision; its accuracy was not
                                    judged so. -1: the bundle does not say. */
    double own_mean_error;       /* largest over the golden frames, against this graph's own answers at export; 0 without */
    double own_max_error;
    double load_ms;              /* looking through the graph, and the engine's opening */
    double golden_ms;            /* replaying the golden frames */
    double area_limit;           /* for physedge_stream_options, where the frames are a film */
} physedge_net_info;

/* Choose the graph, look through it, give it to the engine, replay the golden frames. The bundle may be freed
 * afterwards. On a device with a configuration (of the trust that the bundle was read with) a release below its floor is
 * refused. PE-INSTALL-001, 004, 008, PE-SIGN-016, PE-BUNDLE-012, 020 to 022, 030 to 038, PE-ENGINE-001 to 003, PE-ENV-001,
 * PE-TRT-003, 010 to 017. */
PHYSEDGE_API physedge_status physedge_net_open(const physedge_bundle *bundle, const physedge_open_options *options,
                                               physedge_net **net, physedge_error *error);
PHYSEDGE_API void physedge_net_describe(const physedge_net *net, physedge_net_info *info);
PHYSEDGE_API void physedge_net_free(physedge_net *net);

/* ---- Update ------------------------------------------------------------------------------------------------------ */

/* Record that a release on trial has proven itself by live answers: from now on nothing older than it opens here. The
 * firmware decides what a proof is; 50 live answers within 10 s or more is what `physedge run` asks for. Nothing changes
 * where it is proven already. `root` is where bundles are installed, NULL for the place that the device's configuration
 * says; `network` and `sha256` are those of physedge_bundle_info. `floor`, where it is not NULL, gets the release floor.
 * PE-INSTALL-002, 004, 005, 008, 012, PE-SIGN-004. */
PHYSEDGE_API physedge_status physedge_update_good(const char *root, const char *network, const char *sha256,
                                                  uint64_t *floor, physedge_error *error);

/* ---- Infer --------------------------------------------------------------------------------------------------- */

typedef enum physedge_format PHYSEDGE_ANY_INT {
    PHYSEDGE_RGB,      /* 3 bytes a pixel */
    PHYSEDGE_BGR,      /* 3 bytes a pixel, as OpenCV delivers */
    PHYSEDGE_GREY,     /* 1 byte a pixel */
    PHYSEDGE_NV12,     /* a plane of luma, then one of interleaved Cb and Cr of half the size; BT.601, 16 to 235 */
    PHYSEDGE_VOLTAGES  /* floats in volts */
} physedge_format;

/* One frame; nothing of it is kept after the call. */
typedef struct physedge_frame {
    physedge_format format;
    uint32_t width_px;           /* even for NV12 */
    uint32_t height_px;          /* even for NV12; of voltages 2 where the body at rest comes first, else 0 */
    const uint8_t *pixels;       /* the first row; of NV12, the luma */
    size_t stride_bytes;         /* from row to row; 0 for rows without a gap */
    const uint8_t *chroma;       /* of NV12; NULL where it follows the luma (height_px * stride_bytes) */
    size_t chroma_stride_bytes;  /* 0 for the stride of the luma */
    const float *voltages;
    size_t voltage_count;        /* physedge_net_info.voltages * voltage_frames */
    uint64_t frame_id;
    int64_t captured_ns;
} physedge_frame;

typedef enum physedge_trust_state PHYSEDGE_ANY_INT { PHYSEDGE_TRUST_OK, PHYSEDGE_TRUST_DOUBTFUL, PHYSEDGE_TRUST_VOID } physedge_trust_state;

typedef struct physedge_stage_times {
    double queue_ms;        /* from capture to the start of work */
    double preprocess_ms;   /* colour, crop and resize */
    double inference_ms;    /* the engine alone */
    double postprocess_ms;  /* from the engine's outputs to the result */
} physedge_stage_times;

/* A number that rises as the answer becomes less credible; its limits stand in the bundle. */
typedef struct physedge_trust_signal {
    const char *name;  /* lives as long as the network */
    double value;
} physedge_trust_signal;

/* One answer. The first four fields are the caller's memory, set before the call; each may be NULL. */
typedef struct physedge_result {
    uint8_t *mask;                          /* (height, width) on the network's grid: 0 background, else the class */
    size_t mask_bytes;                      /* room there; at least physedge_net_info.mask_bytes */
    float *output[PHYSEDGE_MOST_OUTPUTS];   /* every output in the order of physedge_net_info */
    size_t output_floats[PHYSEDGE_MOST_OUTPUTS]; /* room there */

    uint64_t frame_id;
    int64_t captured_ns;
    double age_ms;                          /* from capture to the end of the call */
    physedge_stage_times stages;
    int finite;                             /* whether the answer holds numbers only */
    physedge_trust_state trust;             /* a void answer must not be shown */
    char trust_reason[512];
    size_t signals;                         /* the trust signals behind it: those of the graph, and "input" */
    physedge_trust_signal signal[PHYSEDGE_MOST_OUTPUTS + 1];
    uint64_t foreground_points;             /* of the mask, where its memory was given: points that are no background */
    uint32_t label;                         /* of a classification: the most probable class */
    uint32_t frame_width_px;
    uint32_t frame_height_px;
} physedge_result;

/* Answer one frame. PE-FRAME-001, 002 (no such frame), PE-NATIVE-001, 002, 004, 005, 007. */
PHYSEDGE_API physedge_status physedge_net_infer(physedge_net *net, const physedge_frame *frame,
                                                physedge_result *result, physedge_error *error);
/* Only the picture that the graph would take in: uint8 (height, width, channel) of the network's grid. */
PHYSEDGE_API physedge_status physedge_net_prepare(physedge_net *net, const physedge_frame *frame, uint8_t *grid,
                                                  size_t grid_bytes, physedge_error *error);
/* The mask at the size of the frame that was answered, uint8 (height, width): the probability brought there (bilinear),
 * then the threshold, the same bytes as in Python (docs/spec.md); 0 outside of what was looked at. The result must have
 * the memory of the output "probability". PE-NATIVE-001. */
PHYSEDGE_API physedge_status physedge_net_frame_mask(const physedge_net *net, const physedge_result *result,
                                                     uint8_t *labels, size_t stride_bytes, physedge_error *error);
/* Bring labels from the grid to a frame of this size, nearest pixel, in steps; 0 outside of what was looked at. */
PHYSEDGE_API physedge_status physedge_net_to_frame(const physedge_net *net, const uint8_t *mask, uint32_t width_px,
                                                   uint32_t height_px, uint8_t *labels, size_t stride_bytes,
                                                   physedge_error *error);

/* One class of the mask at the frame's size. */
typedef struct physedge_region {
    double area_fraction;        /* share of the part of the frame that is looked at */
    int is_empty;
    double centroid_x_px, centroid_y_px;  /* pixel centres at halves; 0 where empty */
    int32_t left_px, top_px, right_px, bottom_px;  /* right and bottom exclusive; 0 where empty */
} physedge_region;

/* Measure one class (1 ...) on the mask of physedge_net_frame_mask; the result must have the same memory. */
PHYSEDGE_API physedge_status physedge_net_region(const physedge_net *net, const physedge_result *result,
                                                 uint32_t class_index, physedge_region *region, physedge_error *error);
/* CLOCK_MONOTONIC. */
PHYSEDGE_API int64_t physedge_now_ns(void);

/* ---- Stream -------------------------------------------------------------------------------------------------- */
/* The deciding core: which frame next, what age, which signal, what may be shown, when to give up. No thread, no clock,
 * no device: it is told what happened and when, and says what leaves. The same calls give the same decisions, here and
 * in Python. After every call drain physedge_stream_next_item and physedge_stream_next_event until they return 0. */

typedef struct physedge_stream physedge_stream;

typedef enum physedge_drop PHYSEDGE_ANY_INT { PHYSEDGE_DROP_LATEST, PHYSEDGE_DROP_OLDEST, PHYSEDGE_DROP_NEVER } physedge_drop;

typedef enum physedge_signal PHYSEDGE_ANY_INT {
    PHYSEDGE_LIVE,
    PHYSEDGE_STALE,
    PHYSEDGE_FROZEN,
    PHYSEDGE_BLACK,
    PHYSEDGE_SATURATED,
    PHYSEDGE_LOST,
    PHYSEDGE_RECOVERING
} physedge_signal;

typedef enum physedge_withdrawal PHYSEDGE_ANY_INT {
    PHYSEDGE_SHOWN,  /* the answer may be shown */
    PHYSEDGE_WITHDRAWN_SIGNAL,
    PHYSEDGE_WITHDRAWN_LATE,
    PHYSEDGE_WITHDRAWN_OLD,
    PHYSEDGE_WITHDRAWN_VOID,
    PHYSEDGE_WITHDRAWN_NOT_FINITE,
    PHYSEDGE_WITHDRAWN_ENGINE,
    PHYSEDGE_WITHDRAWN_OTHER_FRAME,
    PHYSEDGE_WITHDRAWN_SAFE_STATE
} physedge_withdrawal;

typedef enum physedge_event_kind PHYSEDGE_ANY_INT {
    PHYSEDGE_EVENT_STARTED,
    PHYSEDGE_EVENT_SIGNAL,
    PHYSEDGE_EVENT_RECONNECT,
    PHYSEDGE_EVENT_FORMAT,
    PHYSEDGE_EVENT_DAMAGE,
    PHYSEDGE_EVENT_CLOCK,
    PHYSEDGE_EVENT_ENGINE,
    PHYSEDGE_EVENT_ANSWERS,
    PHYSEDGE_EVENT_SINK,
    PHYSEDGE_EVENT_SAFE_STATE,
    PHYSEDGE_EVENT_ENDED
} physedge_event_kind;

/* As in Python: LIVE, frozen by the operator, black ...; see docs/streaming.md. Times in nanoseconds. */
typedef struct physedge_stream_options {
    physedge_drop drop;
    int64_t period_ns;      /* that the source states; 0 for none */
    int frame_clock;        /* 0 for a file: silence and repetition mean nothing */
    double stale_periods, lost_periods;
    int64_t stale_floor_ns, stale_cap_ns, lost_floor_ns, lost_cap_ns, first_frame_ns, frozen_ns, unfit_ns;
    uint32_t frozen_repeats, good_frames;
    double dark_share, bright_share;
    int64_t max_age_ns;     /* an older answer is withdrawn; negative for never */
    int64_t deadline_ns;    /* from capture to answer; negative for none */
    int64_t hang_ns;
    uint32_t deadline_misses, engine_errors, not_finite;  /* in a row, then the safe state */
    double area_limit;      /* a larger change of the mask's area is doubtful; negative where the frames are no film */
    /* Called once for each frame that was handed in, when the core and the items handed out let go of it. */
    void (*release)(void *context, void *user);
    void *release_context;
} physedge_stream_options;

/* The defaults of `physedge run`: of a live source, or of a file. */
PHYSEDGE_API physedge_stream_options physedge_stream_defaults(int live);

/* A first look at a frame: is it the last one again, is it black, is it white. */
typedef struct physedge_look {
    uint32_t checksum;    /* CRC-32 of every byte */
    double dark_share;    /* of sampled values up to 16; of voltages, that are exactly 0 */
    double bright_share;  /* of sampled values from 250 on; of voltages, that are no number */
    char format[48];      /* shape, channel order and type */
} physedge_look;

/* PE-FRAME-001, 002. */
PHYSEDGE_API physedge_status physedge_look_at(const physedge_frame *frame, physedge_look *look, physedge_error *error);

typedef struct physedge_stream_frame {
    void *user;               /* the caller's; handed back with items, by take and by release */
    uint64_t frame_id;
    int64_t captured_ns;
    int64_t source_stamp_ns;  /* the source's own time */
    int has_source_stamp;
    int frozen_by_operator;
} physedge_stream_frame;

/* What the engine said of the frame that was taken. */
typedef struct physedge_answer {
    const char *fault;        /* NULL for an answer, else what went wrong in a line */
    int out_of_memory;        /* with a fault: the safe state at once */
    uint64_t frame_id;
    int finite;
    physedge_trust_state trust;
    const char *trust_reason; /* or NULL */
    uint64_t mask_points;     /* physedge_net_info.mask_bytes; 0 where the answer is no mask */
    uint64_t foreground_points; /* of the result */
} physedge_answer;

typedef struct physedge_drops {
    uint64_t superseded;  /* a newer one came before the engine was free */
    uint64_t queue_full;
    uint64_t source_gap;  /* missing in the source's own numbers */
    uint64_t overtaken;   /* a newer picture had gone out already */
} physedge_drops;

/* A picture with its answer or the reason why there is none (`has_frame`), or a change of state without a picture. */
typedef struct physedge_stream_item {
    int has_frame;
    void *user;       /* of the frame; valid until the next call on the stream */
    uint64_t frame_id;
    int answered;     /* the answer that was just handed in belongs to this picture and may be shown */
    physedge_signal signal;
    char reason[200];
    physedge_withdrawal withdrawn;
    char withdrawn_text[560];
    int has_trust;    /* the engine answered this picture; what follows is the answer's trust, the film's `area` included */
    physedge_trust_state trust;
    char trust_reason[640];
    double area_change; /* the signal `area`, 0 to 1; negative where there is nothing to compare with */
    int64_t captured_ns;
    int64_t at_ns;
    physedge_drops drops;
} physedge_stream_item;

typedef struct physedge_stream_event {
    int64_t at_ns;
    physedge_event_kind kind;
    char text[560];
} physedge_stream_event;

PHYSEDGE_API physedge_status physedge_stream_create(const physedge_stream_options *options, physedge_stream **stream,
                                                    physedge_error *error);
PHYSEDGE_API void physedge_stream_free(physedge_stream *stream);

/* Under PHYSEDGE_DROP_NEVER a frame may be handed in only while this is not 0. */
PHYSEDGE_API int physedge_stream_has_room(const physedge_stream *stream);
PHYSEDGE_API int physedge_stream_is_idle(const physedge_stream *stream);
/* Why no more answers are given; "" as long as they are. */
PHYSEDGE_API const char *physedge_stream_safe_reason(const physedge_stream *stream);
/* How much later frames arrive than the quickest did, by the source's own stamps. */
PHYSEDGE_API int64_t physedge_stream_source_lag_ns(const physedge_stream *stream);

/* A frame came. PE-NATIVE-006 without room or with items that were not drained; it was not taken in then. */
PHYSEDGE_API physedge_status physedge_stream_frame_in(physedge_stream *stream, const physedge_stream_frame *frame,
                                                      const physedge_look *look, int64_t now_ns, physedge_error *error);
/* The engine is free: 1 and the next frame for it, or 0. */
PHYSEDGE_API int physedge_stream_take(physedge_stream *stream, int64_t now_ns, physedge_stream_frame *frame);
/* What physedge_net_infer said: its result where the status is PHYSEDGE_OK, else what `error` found. Points into both. */
PHYSEDGE_API physedge_answer physedge_answer_of(const physedge_net *net, physedge_status status,
                                                const physedge_result *result, const physedge_error *error);
/* The engine came back with the frame that was taken. PE-NATIVE-006 where none was. */
PHYSEDGE_API physedge_status physedge_stream_answered(physedge_stream *stream, const physedge_answer *answer,
                                                      int64_t now_ns, physedge_error *error);
/* Time passed; call it at least every 10 ms, whether or not frames come. */
PHYSEDGE_API void physedge_stream_tick(physedge_stream *stream, int64_t now_ns);
/* The source says that it is gone. */
PHYSEDGE_API void physedge_stream_lost(physedge_stream *stream, const char *reason, int64_t now_ns);
/* Something outside makes it unsafe to go on. */
PHYSEDGE_API void physedge_stream_fail(physedge_stream *stream, const char *reason, int64_t now_ns);
/* Put a line of the caller into the log, in order. */
PHYSEDGE_API void physedge_stream_note(physedge_stream *stream, physedge_event_kind kind, const char *text,
                                       int64_t now_ns);
/* 1 and the oldest thing that has come up, or 0. */
PHYSEDGE_API int physedge_stream_next_item(physedge_stream *stream, physedge_stream_item *item);
PHYSEDGE_API int physedge_stream_next_event(physedge_stream *stream, physedge_stream_event *event);

/* "LIVE", "STALE", ...; "signal", "late", ... ("" for shown); "ok", "doubtful", "void"; "started", "signal", ... */
PHYSEDGE_API const char *physedge_signal_name(physedge_signal signal);
PHYSEDGE_API const char *physedge_withdrawal_name(physedge_withdrawal withdrawal);
PHYSEDGE_API const char *physedge_trust_name(physedge_trust_state trust);
PHYSEDGE_API const char *physedge_event_name(physedge_event_kind kind);

#ifdef __cplusplus
}
#endif

#endif
