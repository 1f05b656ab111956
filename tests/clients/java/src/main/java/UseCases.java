import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.client.config.SdkAdvancedClientOption;
import software.amazon.awssdk.services.medicalimaging.MedicalImagingClient;
import software.amazon.awssdk.services.medicalimaging.model.CopyDestinationImageSet;
import software.amazon.awssdk.services.medicalimaging.model.CopyImageSetInformation;
import software.amazon.awssdk.services.medicalimaging.model.CopySourceImageSetInformation;
import software.amazon.awssdk.services.medicalimaging.model.DatastoreProperties;
import software.amazon.awssdk.services.medicalimaging.model.DatastoreStatus;
import software.amazon.awssdk.services.medicalimaging.model.GetImageSetResponse;
import software.amazon.awssdk.services.medicalimaging.model.ImageSetProperties;
import software.amazon.awssdk.services.medicalimaging.model.ImageSetState;
import software.amazon.awssdk.services.medicalimaging.model.ImageSetsMetadataSummary;
import software.amazon.awssdk.services.medicalimaging.model.JobStatus;
import software.amazon.awssdk.services.medicalimaging.model.MedicalImagingException;
import software.amazon.awssdk.services.medicalimaging.model.MetadataCopies;
import software.amazon.awssdk.services.medicalimaging.model.MetadataUpdates;
import software.amazon.awssdk.services.medicalimaging.model.Operator;
import software.amazon.awssdk.services.medicalimaging.model.SearchByAttributeValue;
import software.amazon.awssdk.services.medicalimaging.model.SearchCriteria;
import software.amazon.awssdk.services.medicalimaging.model.SearchFilter;
import software.amazon.awssdk.services.medicalimaging.model.Sort;
import software.amazon.awssdk.services.medicalimaging.model.SortField;
import software.amazon.awssdk.services.medicalimaging.model.SortOrder;

/**
 * The documented use cases, by the AWS SDK for Java 2.x. What each client runs and prints is said in
 * ../test_conformance.py.
 */
public final class UseCases {
    private static final String SERIES = System.getenv("SERIES_UID");
    private static final String FIRST = System.getenv("FIRST_UID");
    private static final String SECOND = System.getenv("SECOND_UID");

    private final MedicalImagingClient client;
    private String datastore;
    private String primary;

    private UseCases(MedicalImagingClient client) {
        this.client = client;
    }

    public static void main(String[] arguments) throws Exception {
        try (MedicalImagingClient client = MedicalImagingClient.builder()
                .endpointOverride(URI.create(System.getenv("ENDPOINT")))
                .overrideConfiguration(c -> c.putAdvancedOption(
                        SdkAdvancedClientOption.DISABLE_HOST_PREFIX_INJECTION, true))
                .build()) {
            new UseCases(client).run();
        }
    }

    private void run() throws IOException {
        dataStore();
        importJob();
        searches();
        look();
        String copy = copied("copy", copy(primary, source("1"), false));
        updates(copy);
        String part = copied("copy-subset", copy(primary, only(FIRST), false));
        copied("copy-destination", into(part, "1", false));
        String other = copied("copy-again", copy(primary, only(FIRST), false));
        update(other, "1", updatable("\"Patient\":{\"DICOM\":{\"PatientID\":\"OTHER\"}}"), false);
        settled(other);
        copied("copy-inconsistent", into(other, "2", false));
        copied("copy-forced", into(other, "3", true));
        tags(properties(datastore).datastoreArn());
        tags(imageSet(copy).imageSetArn());
        String promoted = deletion(part);
        spareDataStore();
        say("ids", datastore, primary, copy, part, other, promoted);
    }

    // ---- data stores

    private void dataStore() {
        datastore = client.createDatastore(r -> r.datastoreName("conformance")).datastoreId();
        say("datastore", leaves(datastore, DatastoreStatus.CREATING));
        say("listed", client.listDatastoresPaginator(r -> {}).datastoreSummaries().stream()
                .filter(x -> x.datastoreId().equals(datastore))
                .map(x -> x.datastoreName())
                .collect(Collectors.joining(" ")));
    }

    private void spareDataStore() {
        String spare = client.createDatastore(r -> r.datastoreName("spare")).datastoreId();
        leaves(spare, DatastoreStatus.CREATING);
        client.deleteDatastore(r -> r.datastoreId(spare));
        say("spare", leaves(spare, DatastoreStatus.DELETING));
    }

    private DatastoreProperties properties(String id) {
        return client.getDatastore(r -> r.datastoreId(id)).datastoreProperties();
    }

    private DatastoreStatus leaves(String id, DatastoreStatus status) {
        return until(() -> properties(id), found -> found.datastoreStatus() != status).datastoreStatus();
    }

    // ---- import

    private void importJob() {
        String job = client.startDICOMImportJob(r -> r.jobName("conformance")
                .datastoreId(datastore)
                .dataAccessRoleArn(System.getenv("ROLE_ARN"))
                .inputS3Uri(System.getenv("INPUT_URI"))
                .outputS3Uri(System.getenv("OUTPUT_URI"))).jobId();
        List<JobStatus> over = List.of(JobStatus.COMPLETED, JobStatus.FAILED);
        say("job", until(
                () -> client.getDICOMImportJob(r -> r.datastoreId(datastore).jobId(job)).jobProperties().jobStatus(),
                over::contains));
        say("jobs", client.listDICOMImportJobsPaginator(r -> r.datastoreId(datastore)).jobSummaries().stream().count());
    }

    // ---- searches

    private void searches() {
        say("search.patient", search(null, filter(Operator.EQUAL,
                SearchByAttributeValue.fromDicomPatientId(System.getenv("PATIENT_ID")))).size());
        say("search.study", search(null, filter(Operator.BETWEEN,
                SearchByAttributeValue.fromDicomStudyDateAndTime(
                        d -> d.dicomStudyDate("19900101").dicomStudyTime("000000")),
                SearchByAttributeValue.fromDicomStudyDateAndTime(
                        d -> d.dicomStudyDate("20230101").dicomStudyTime("000000")))).size());
        Instant lower = Instant.parse("1985-04-12T23:20:50.52Z");
        Instant upper = Instant.now().plus(Duration.ofDays(1));
        say("search.created", search(null, filter(Operator.BETWEEN,
                SearchByAttributeValue.fromCreatedAt(lower), SearchByAttributeValue.fromCreatedAt(upper))).size());
        Sort sort = Sort.builder().sortOrder(SortOrder.ASC).sortField(SortField.UPDATED_AT).build();
        List<ImageSetsMetadataSummary> series = search(sort,
                filter(Operator.BETWEEN,
                        SearchByAttributeValue.fromUpdatedAt(lower), SearchByAttributeValue.fromUpdatedAt(upper)),
                filter(Operator.EQUAL, SearchByAttributeValue.fromDicomSeriesInstanceUID(SERIES)));
        say("search.series", series.size());
        primary = series.get(0).imageSetId();
    }

    private static SearchFilter filter(Operator operator, SearchByAttributeValue... values) {
        return SearchFilter.builder().operator(operator).values(values).build();
    }

    private List<ImageSetsMetadataSummary> search(Sort sort, SearchFilter... filters) {
        SearchCriteria criteria = SearchCriteria.builder().filters(filters).sort(sort).build();
        return client.searchImageSetsPaginator(r -> r.datastoreId(datastore).searchCriteria(criteria))
                .imageSetsMetadataSummaries().stream().collect(Collectors.toList());
    }

    // ---- looking

    private void look() throws IOException {
        GetImageSetResponse found = imageSet(primary);
        say("primary", found.imageSetState(), found.imageSetWorkflowStatus(), found.versionId());
        say("metadata", patientName(primary, null));
    }

    private GetImageSetResponse imageSet(String id) {
        return client.getImageSet(r -> r.datastoreId(datastore).imageSetId(id));
    }

    private GetImageSetResponse settled(String id) {
        return until(() -> imageSet(id), found -> found.imageSetState() != ImageSetState.LOCKED);
    }

    /** The metadata goes to a file, as it comes; what is in it is JSON, gzipped. */
    private String patientName(String id, String version) throws IOException {
        Path folder = Files.createTempDirectory("metadata");
        Path file = folder.resolve("metadata.json.gz");
        client.getImageSetMetadata(r -> r.datastoreId(datastore).imageSetId(id).versionId(version), file);
        byte[] zipped = Files.readAllBytes(file);
        Files.delete(file);
        Files.delete(folder);
        byte[] json = new GZIPInputStream(new ByteArrayInputStream(zipped)).readAllBytes();
        Matcher name = Pattern.compile("\"PatientName\": ?\"([^\"]*)\"")
                .matcher(new String(json, StandardCharsets.UTF_8));
        return name.find() ? name.group(1) : "";
    }

    // ---- the seven examples of UpdateImageSetMetadata

    private void updates(String id) throws IOException {
        boolean forcedRemoval = "true".equals(System.getenv("FORCED_REMOVAL"));
        updated("update-attribute", id, "1",
                updatable("\"Patient\":{\"DICOM\":{\"PatientName\":\"MX^MX\"}}"), false);
        updated("remove-attribute", id, "2",
                removable("\"Study\":{\"DICOM\":{\"StudyDescription\":\"CHEST\"}}"), false);
        updated("remove-instance", id, "3", removable(instance(SECOND, "{}")), forcedRemoval);
        updated("revert", id, "4", MetadataUpdates.builder().revertToVersionId("1").build(), false);
        updated("add-private", id, "5", updatable(instance(FIRST,
                "{\"DICOM\":{\"001910F9\":\"97\"},\"DICOMVRs\":{\"001910F9\":\"DS\"}}")), true);
        updated("update-private", id, "6", updatable(instance(FIRST,
                "{\"DICOM\":{\"00091001\":\"GE_GENESIS_DD\"}}")), true);
        updated("change-uid", id, "7", updatable(instance(FIRST,
                "{\"DICOM\":{\"SOPInstanceUID\":\"" + System.getenv("NEW_UID") + "\"}}")), true);
        say("metadata.2", patientName(id, "2"));
        say("versions", client.listImageSetVersionsPaginator(r -> r.datastoreId(datastore).imageSetId(id))
                .imageSetPropertiesList().stream()
                .map(ImageSetProperties::versionId)
                .collect(Collectors.joining(" ")));
        try {
            update(id, "1", MetadataUpdates.builder().revertToVersionId("1").build(), false);
        } catch (MedicalImagingException error) {
            say("stale", error.getClass().getSimpleName());
        }
    }

    private static MetadataUpdates updatable(String levels) {
        return MetadataUpdates.builder().dicomUpdates(u -> u.updatableAttributes(blob(levels))).build();
    }

    private static MetadataUpdates removable(String levels) {
        return MetadataUpdates.builder().dicomUpdates(u -> u.removableAttributes(blob(levels))).build();
    }

    private static SdkBytes blob(String levels) {
        return SdkBytes.fromUtf8String("{\"SchemaVersion\":1.1," + levels + "}");
    }

    private static String instance(String uid, String content) {
        return "\"Study\":{\"Series\":{\"" + SERIES + "\":{\"Instances\":{\"" + uid + "\":" + content + "}}}}";
    }

    private software.amazon.awssdk.services.medicalimaging.model.UpdateImageSetMetadataResponse update(
            String id, String version, MetadataUpdates updates, boolean force) {
        return client.updateImageSetMetadata(r -> r.datastoreId(datastore)
                .imageSetId(id)
                .latestVersionId(version)
                .updateImageSetMetadataUpdates(updates)
                .force(force));
    }

    private void updated(String name, String id, String version, MetadataUpdates updates, boolean force) {
        var answer = update(id, version, updates, force);
        say(name, answer.imageSetWorkflowStatus(), answer.latestVersionId(), settled(id).imageSetWorkflowStatus());
    }

    // ---- copies

    private static CopyImageSetInformation source(String version) {
        return CopyImageSetInformation.builder().sourceImageSet(s -> s.latestVersionId(version)).build();
    }

    private static CopyImageSetInformation only(String uid) {
        return CopyImageSetInformation.builder().sourceImageSet(some(uid)).build();
    }

    private static CopySourceImageSetInformation some(String uid) {
        String attributes = "{\"SchemaVersion\":\"1.1\"," + instance(uid, "{}") + "}";
        MetadataCopies copies = MetadataCopies.builder().copiableAttributes(attributes).build();
        return CopySourceImageSetInformation.builder().latestVersionId("1").dicomCopies(copies).build();
    }

    private String into(String id, String version, boolean force) {
        CopyDestinationImageSet destination =
                CopyDestinationImageSet.builder().imageSetId(id).latestVersionId(version).build();
        return copy(primary, CopyImageSetInformation.builder()
                .sourceImageSet(some(SECOND)).destinationImageSet(destination).build(), force);
    }

    private String copy(String source, CopyImageSetInformation information, boolean force) {
        return client.copyImageSet(r -> r.datastoreId(datastore)
                .sourceImageSetId(source)
                .copyImageSetInformation(information)
                .force(force)).destinationImageSetProperties().imageSetId();
    }

    private String copied(String name, String id) {
        settled(primary);
        GetImageSetResponse after = settled(id);
        say(name, after.imageSetWorkflowStatus(), after.versionId());
        return id;
    }

    // ---- tags and deletion

    private void tags(String arn) {
        client.tagResource(r -> r.resourceArn(arn).tags(Map.of("Deployment", "Development")));
        say("tagged", client.listTagsForResource(r -> r.resourceArn(arn)).tags().get("Deployment"));
        client.untagResource(r -> r.resourceArn(arn).tagKeys("Deployment"));
        say("untagged", client.listTagsForResource(r -> r.resourceArn(arn)).tags().size());
    }

    private String deletion(String part) {
        say("delete", client.deleteImageSet(r -> r.datastoreId(datastore).imageSetId(primary)).imageSetWorkflowStatus());
        say("deleted", settled(primary).imageSetWorkflowStatus());
        String promoted = client.copyImageSet(r -> r.datastoreId(datastore)
                .sourceImageSetId(part)
                .copyImageSetInformation(source("2"))
                .promoteToPrimary(true)).destinationImageSetProperties().imageSetId();
        settled(part);
        say("promoted", settled(promoted).isPrimary());
        return promoted;
    }

    // ---- tools

    /** The service has no waiters: look until it is over. */
    private static <T> T until(Supplier<T> look, Predicate<T> over) {
        for (int tries = 0; tries < 600; tries++) {
            T found = look.get();
            if (over.test(found)) {
                return found;
            }
            try {
                Thread.sleep(50);
            } catch (InterruptedException stop) {
                throw new IllegalStateException(stop);
            }
        }
        throw new IllegalStateException("waited in vain");
    }

    private static void say(String name, Object... values) {
        System.out.println(name + "=" + Arrays.stream(values).map(String::valueOf).collect(Collectors.joining(" ")));
    }
}
