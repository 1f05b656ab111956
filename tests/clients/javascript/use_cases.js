// The documented use cases, by the AWS SDK for JavaScript v3.
// What each client runs and prints is said in ../test_conformance.py.

import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";

import {
  CopyImageSetCommand,
  CreateDatastoreCommand,
  DeleteDatastoreCommand,
  DeleteImageSetCommand,
  GetDatastoreCommand,
  GetDICOMImportJobCommand,
  GetImageSetCommand,
  GetImageSetMetadataCommand,
  ListTagsForResourceCommand,
  MedicalImagingClient,
  paginateListDatastores,
  paginateListDICOMImportJobs,
  paginateListImageSetVersions,
  paginateSearchImageSets,
  StartDICOMImportJobCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateImageSetMetadataCommand,
} from "@aws-sdk/client-medical-imaging";

const { ENDPOINT, SERIES_UID, FIRST_UID, SECOND_UID, NEW_UID, PATIENT_ID } = process.env;
const forcedRemoval = process.env.FORCED_REMOVAL === "true";

const client = new MedicalImagingClient({ endpoint: ENDPOINT, disableHostPrefix: true });

const say = (name, ...values) => console.log(`${name}=${values.join(" ")}`);

// The service has no waiters: look until it is over.
async function until(look, over) {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = await look();
    if (over(found)) return found;
    await sleep(50);
  }
  throw new Error("waited in vain");
}

async function collect(pages, member) {
  const items = [];
  for await (const page of pages) items.push(...page[member]);
  return items;
}

// ---- data stores

const properties = async (datastoreId) =>
  (await client.send(new GetDatastoreCommand({ datastoreId }))).datastoreProperties;

async function createDatastore(datastoreName) {
  const { datastoreId } = await client.send(new CreateDatastoreCommand({ datastoreName }));
  const active = await until(
    () => properties(datastoreId),
    (found) => found.datastoreStatus !== "CREATING",
  );
  return [datastoreId, active.datastoreStatus];
}

const [datastoreId, status] = await createDatastore("conformance");
say("datastore", status);
const datastores = await collect(paginateListDatastores({ client }, {}), "datastoreSummaries");
say("listed", ...datastores.filter((x) => x.datastoreId === datastoreId).map((x) => x.datastoreName));

// ---- import

const { jobId } = await client.send(
  new StartDICOMImportJobCommand({
    jobName: "conformance",
    datastoreId,
    dataAccessRoleArn: process.env.ROLE_ARN,
    inputS3Uri: process.env.INPUT_URI,
    outputS3Uri: process.env.OUTPUT_URI,
  }),
);
const job = await until(
  async () => (await client.send(new GetDICOMImportJobCommand({ datastoreId, jobId }))).jobProperties,
  (found) => ["COMPLETED", "FAILED"].includes(found.jobStatus),
);
say("job", job.jobStatus);
say("jobs", (await collect(paginateListDICOMImportJobs({ client }, { datastoreId }), "jobSummaries")).length);

// ---- searches

const search = (searchCriteria) =>
  collect(paginateSearchImageSets({ client }, { datastoreId, searchCriteria }), "imageSetsMetadataSummaries");

const patient = await search({ filters: [{ values: [{ DICOMPatientId: PATIENT_ID }], operator: "EQUAL" }] });
say("search.patient", patient.length);

const study = await search({
  filters: [
    {
      values: [
        { DICOMStudyDateAndTime: { DICOMStudyDate: "19900101", DICOMStudyTime: "000000" } },
        { DICOMStudyDateAndTime: { DICOMStudyDate: "20230101", DICOMStudyTime: "000000" } },
      ],
      operator: "BETWEEN",
    },
  ],
});
say("search.study", study.length);

const [lower, upper] = [new Date("1985-04-12T23:20:50.52Z"), new Date(Date.now() + 24 * 3600 * 1000)];
const created = await search({
  filters: [{ values: [{ createdAt: lower }, { createdAt: upper }], operator: "BETWEEN" }],
});
say("search.created", created.length);

const series = await search({
  filters: [
    { values: [{ updatedAt: lower }, { updatedAt: upper }], operator: "BETWEEN" },
    { values: [{ DICOMSeriesInstanceUID: SERIES_UID }], operator: "EQUAL" },
  ],
  sort: { sortOrder: "ASC", sortField: "updatedAt" },
});
say("search.series", series.length);
const primary = series[0].imageSetId;

// ---- looking

const imageSet = (imageSetId) => client.send(new GetImageSetCommand({ datastoreId, imageSetId }));
const settled = (imageSetId) =>
  until(
    () => imageSet(imageSetId),
    (found) => found.imageSetState !== "LOCKED",
  );
async function metadata(imageSetId, versionId) {
  const answer = await client.send(new GetImageSetMetadataCommand({ datastoreId, imageSetId, versionId }));
  return JSON.parse(gunzipSync(await answer.imageSetMetadataBlob.transformToByteArray()).toString());
}

const looked = await imageSet(primary);
say("primary", looked.imageSetState, looked.imageSetWorkflowStatus, looked.versionId);
say("metadata", (await metadata(primary)).Patient.DICOM.PatientName);

// ---- a copy, and the seven examples of UpdateImageSetMetadata

async function copy(sourceImageSetId, copyImageSetInformation, options = {}) {
  const answer = await client.send(
    new CopyImageSetCommand({ datastoreId, sourceImageSetId, copyImageSetInformation, ...options }),
  );
  return answer.destinationImageSetProperties.imageSetId;
}

async function copied(name, imageSetId) {
  await settled(primary);
  const after = await settled(imageSetId);
  say(name, after.imageSetWorkflowStatus, after.versionId);
  return imageSetId;
}

const whole = await copied("copy", await copy(primary, { sourceImageSet: { latestVersionId: "1" } }));

const update = (imageSetId, version, updateImageSetMetadataUpdates, options = {}) =>
  client.send(
    new UpdateImageSetMetadataCommand({
      datastoreId,
      imageSetId,
      latestVersionId: version,
      updateImageSetMetadataUpdates,
      ...options,
    }),
  );

async function updated(name, version, updates, options) {
  const answer = await update(whole, version, updates, options);
  const after = await settled(whole);
  say(name, answer.imageSetWorkflowStatus, answer.latestVersionId, after.imageSetWorkflowStatus);
}

const blob = (levels) => new TextEncoder().encode(JSON.stringify({ SchemaVersion: 1.1, ...levels }));
const updatable = (levels) => ({ DICOMUpdates: { updatableAttributes: blob(levels) } });
const removable = (levels) => ({ DICOMUpdates: { removableAttributes: blob(levels) } });
const instance = (uid, content) => ({ Study: { Series: { [SERIES_UID]: { Instances: { [uid]: content } } } } });
const force = { force: true };

await updated("update-attribute", "1", updatable({ Patient: { DICOM: { PatientName: "MX^MX" } } }));
await updated("remove-attribute", "2", removable({ Study: { DICOM: { StudyDescription: "CHEST" } } }));
await updated("remove-instance", "3", removable(instance(SECOND_UID, {})), forcedRemoval ? force : {});
await updated("revert", "4", { revertToVersionId: "1" });
const added = { DICOM: { "001910F9": "97" }, DICOMVRs: { "001910F9": "DS" } };
await updated("add-private", "5", updatable(instance(FIRST_UID, added)), force);
const changed = { DICOM: { "00091001": "GE_GENESIS_DD" } };
await updated("update-private", "6", updatable(instance(FIRST_UID, changed)), force);
await updated("change-uid", "7", updatable(instance(FIRST_UID, { DICOM: { SOPInstanceUID: NEW_UID } })), force);

say("metadata.2", (await metadata(whole, "2")).Patient.DICOM.PatientName);
const versions = paginateListImageSetVersions({ client }, { datastoreId, imageSetId: whole });
say("versions", ...(await collect(versions, "imageSetPropertiesList")).map((x) => x.versionId));
await update(whole, "1", { revertToVersionId: "1" }).catch((error) => say("stale", error.name));

// ---- copies of some instances, into an image set, and by force

const only = (uid) => ({
  latestVersionId: "1",
  DICOMCopies: { copiableAttributes: JSON.stringify({ SchemaVersion: "1.1", ...instance(uid, {}) }) },
});
const into = (imageSetId, latestVersionId, options) =>
  copy(
    primary,
    { sourceImageSet: only(SECOND_UID), destinationImageSet: { imageSetId, latestVersionId } },
    options,
  );

const part = await copied("copy-subset", await copy(primary, { sourceImageSet: only(FIRST_UID) }));
await copied("copy-destination", await into(part, "1"));
const other = await copied("copy-again", await copy(primary, { sourceImageSet: only(FIRST_UID) }));
await update(other, "1", updatable({ Patient: { DICOM: { PatientID: "OTHER" } } }));
await settled(other);
await copied("copy-inconsistent", await into(other, "2"));
await copied("copy-forced", await into(other, "3", force));

// ---- tags

for (const resourceArn of [(await properties(datastoreId)).datastoreArn, (await imageSet(whole)).imageSetArn]) {
  const tags = async () => (await client.send(new ListTagsForResourceCommand({ resourceArn }))).tags;
  await client.send(new TagResourceCommand({ resourceArn, tags: { Deployment: "Development" } }));
  say("tagged", (await tags()).Deployment);
  await client.send(new UntagResourceCommand({ resourceArn, tagKeys: ["Deployment"] }));
  say("untagged", Object.keys(await tags()).length);
}

// ---- deletion

const deletion = await client.send(new DeleteImageSetCommand({ datastoreId, imageSetId: primary }));
say("delete", deletion.imageSetWorkflowStatus);
say("deleted", (await settled(primary)).imageSetWorkflowStatus);
const promoted = await copy(part, { sourceImageSet: { latestVersionId: "2" } }, { promoteToPrimary: true });
await settled(part);
say("promoted", (await settled(promoted)).isPrimary);

const [spare] = await createDatastore("spare");
await client.send(new DeleteDatastoreCommand({ datastoreId: spare }));
const gone = await until(
  () => properties(spare),
  (found) => found.datastoreStatus !== "DELETING",
);
say("spare", gone.datastoreStatus);

say("ids", datastoreId, primary, whole, part, other, promoted);
