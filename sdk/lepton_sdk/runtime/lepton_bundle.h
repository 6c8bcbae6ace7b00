/* A bundle's file (.lep) opened from C: checked, the best code for this CPU chosen, weights mapped, code loaded.
 *
 *   lepton_bundle *bundle;
 *   lepton_status status = lepton_bundle_open(&bundle, "kws.lep");
 *   status = lepton_open(&session, lepton_bundle_model(bundle), NULL);
 *
 * Linux with a C library that has dlopen; link with -ldl where that is a library of its own. Every segment's SHA-256 is
 * checked before anything is used, and the manifest's own; signatures are not: where files come from people you do not
 * trust, verify them first (`lepton verify`, or the Python session's `trust`).
 */
#ifndef LEPTON_BUNDLE_H
#define LEPTON_BUNDLE_H
#include "lepton_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lepton_bundle lepton_bundle;

/* LEPTON_CANNOT_READ, LEPTON_ALTERED, LEPTON_WRONG_MODEL (a newer format), LEPTON_NOT_HERE (no code for this CPU). */
lepton_status lepton_bundle_open(lepton_bundle **bundle, const char *path);

/* The model inside, good as long as the bundle is open. */
const lepton_model *lepton_bundle_model(const lepton_bundle *bundle);

/* Give up code and mapping; every session of the model must be closed before. Null is no error. */
void lepton_bundle_close(lepton_bundle *bundle);

#ifdef __cplusplus
}
#endif
#endif
