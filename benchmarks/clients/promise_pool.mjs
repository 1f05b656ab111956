// The AWS SDK for JavaScript v3 with a promise pool: so many workers, each an image set at a time.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

// installed by tests/clients/install.sh
const require = createRequire(new URL("../../tests/clients/javascript/", import.meta.url));
const { GetImageSetCommand, MedicalImagingClient, UpdateImageSetMetadataCommand } = require(
  "@aws-sdk/client-medical-imaging",
);

const { DATASTORE, EDITS, ENDPOINT, POLL_S, WORKERS } = process.env;
const client = new MedicalImagingClient({ endpoint: ENDPOINT, disableHostPrefix: true });
const waiting = readFileSync(EDITS, "utf8").trim().split("\n").map((line) => JSON.parse(line));
let failed = 0;

async function unlocked(names) {
  for (;;) {
    const found = await client.send(new GetImageSetCommand(names));
    if (found.imageSetState === "ACTIVE") {
      if (found.imageSetWorkflowStatus === "UPDATE_FAILED") throw new Error(found.message);
      return found.versionId;
    }
    await sleep(1000 * Number(POLL_S));
  }
}

async function worker() {
  for (let line = waiting.shift(); line; line = waiting.shift()) {
    const names = { datastoreId: DATASTORE, imageSetId: line.imageSetId };
    for (const edit of line.edits) {
      try {
        const updates = { DICOMUpdates: { updatableAttributes: Buffer.from(edit) } };
        const latestVersionId = await unlocked(names);
        await client.send(
          new UpdateImageSetMetadataCommand({ ...names, latestVersionId, updateImageSetMetadataUpdates: updates }),
        );
      } catch (error) {
        failed += 1;
        console.error(error.name);
      }
    }
  }
}

await Promise.all(Array.from({ length: Number(WORKERS) }, worker));
process.exit(failed > 0 ? 1 : 0);
